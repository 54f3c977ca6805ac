"""What a search leaves: the table of its trials, the best config, the figure."""

import contextlib
import csv
import io
import math
import os
import pathlib

import rich.box
import rich.table
import rich.text

from gpt_jax.config import files as config_files
from gpt_jax.config import load, values
from gpt_jax.program import carry, setup
from gpt_jax.search import figure, search, trial_queue, trial_run
from gpt_jax.storage import mirror
from gpt_jax.storage.urls import is_remote
from gpt_jax.tracking import console
from gpt_jax.workdir import files

ORDER = (
  trial_run.COMPLETE, 'running', trial_run.PRUNED, trial_run.DIVERGED,
  trial_run.FAILED,
)  # fmt: skip
MAX_LISTED = 20


def trials(found):
  """Returns the trials of a Search as dicts of JSON values, the best first."""
  listed = [_as_dict(found, one) for one in trial_queue.trials_in_budget(found.study)]
  sign = -1 if found.experiment.higher_is_better else 1

  def key(one):
    rank = ORDER.index(one['state']) if one['state'] in ORDER else len(ORDER)
    value = math.inf if one['value'] is None else sign * one['value']
    return rank, value, one['trial']

  return sorted(listed, key=key)


def _as_dict(found, frozen):
  value = frozen.value if frozen.values else None
  if frozen.intermediate_values and value is None:
    value = frozen.intermediate_values[frozen.last_step]
  attributes = frozen.user_attrs
  return dict(
    trial=frozen.number,
    state=search.kind_of(frozen),
    value=value if value is not None and math.isfinite(value) else None,
    values=found.values_of(frozen),
    step=attributes.get(search.STEPS, frozen.last_step or 0),
    seconds=attributes.get(search.SECONDS),
    why=attributes.get(search.WHY, ''),
    workdir=str(found.folder / search.trial_name(frozen.number)),
  )


def table(found, listed, limit=MAX_LISTED):
  """Returns a rich Table of the first of `listed`, what `trials` has returned."""
  made = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
  for name in ('trial', 'state', found.metric, *_short(found), 'step', 'time'):
    made.add_column(name, justify='left' if name == 'state' else 'right')
  for one in listed[:limit]:
    seconds = one['seconds']
    cells = [
      str(one['trial']),
      one['state'],
      '' if one['value'] is None else f'{one["value"]:.4f}',
      *(shown(one['values'].get(dimension.field)) for dimension in found.space),
      str(one['step']),
      '' if seconds is None else console.duration(seconds),
    ]
    made.add_row(*(rich.text.Text(cell) for cell in cells))
  return made


def shown(value):
  """Returns a value of a field for people."""
  if value is None:
    return ''
  return f'{value:.3g}' if isinstance(value, float) else str(value)


def _short(found):
  last = [one.field.rpartition('.')[2] for one in found.space]
  return [
    name if last.count(name) == 1 else one.field
    for name, one in zip(last, found.space, strict=True)
  ]


def as_json(found, listed, paths):
  """Returns what `--json` prints of a search."""
  best = found.best()
  return dict(
    study=found.name,
    storage=found.storage,
    metric=found.metric,
    higher_is_better=found.experiment.higher_is_better,
    num_trials=found.num_trials,
    rungs=list(found.rungs),
    best=None if best is None else _as_dict(found, best),
    importances=figure.importances(found),
    trials=listed,
    files=[str(path) for path in paths],
  )


def write_all(found):
  """Returns the paths of what was written: trials.csv, best.py and the figure."""
  listed = trials(found)
  with mirror.written(found.folder) as here:
    paths = [_write_csv(found, listed, here)]
    if (best := found.best()) is not None:
      paths.append(write_best(found, best, here))
      paths += figure.save(found, listed, here)
  return [found.folder / path.name for path in paths]


def _write_csv(found, listed, folder):
  text = io.StringIO()
  fields = [one.field for one in found.space]
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(['trial', 'state', found.metric, *fields, 'step', 'seconds', 'why'])
  for one in listed:
    chosen = [one['values'].get(field, '') for field in fields]
    value = '' if one['value'] is None else one['value']
    writer.writerow([
      one['trial'], one['state'], value, *chosen, one['step'], one['seconds'],
      one['why'],
    ])  # fmt: skip
  path = folder / 'trials.csv'
  files.write_text(path, text.getvalue())
  return path


def write_best(found, frozen, folder=None):
  """Returns the path of a config file that is the base and the trial's differences.

  `folder`: instead of that of the search, in which it will lie.
  """
  point = found.point(frozen.number, found.values_of(frozen))
  base = config_files.load_file(found.experiment.base)
  with contextlib.redirect_stderr(io.StringIO()):
    overrides = carry.carry_along(base, point.overrides)
    config = setup.resolve(base, overrides)
  resolved = values.plain(config)
  is_new = False
  lines = []
  for field in overrides:
    value, before = _at(resolved, field), _at(base, field, absent := object())
    is_new = is_new or before is absent
    if isinstance(before, float) and isinstance(value, int):
      value = float(value)
    if value != before:
      lines.append(f'config.{field} = {value!r}')
  path = (folder or found.folder) / 'best.py'
  # Code is not run from a bucket: it is to be copied from there.
  shown = path.name if is_remote(found.folder) else found.folder / path.name
  files.write_text(path, _config_text(found, frozen, shown, lines, is_new))
  # A config file that says something else would be worse than none.
  again = setup.resolve(config_files.load_file(str(path)))
  assert load.to_dict(again) == load.to_dict(config), path
  return path


def _at(tree, field, absent=None):
  for part in field.split('.'):
    if part not in tree:
      return absent
    tree = tree[part]
  return values.plain(tree)


def _config_text(found, frozen, path, lines, is_new):
  base = found.experiment.base
  name, *argument = base.split(':', 1)
  if os.path.isfile(name) and config_files.find(name) == name:
    base = ':'.join([str(pathlib.Path(name).absolute()), *argument])
  indent = '  '
  if is_new:  # options of an entry, say, which the base does not list
    lines = ['with config.unlocked():', *(f'  {line}' for line in lines)]
  body = '\n'.join(f'{indent}{line}' for line in lines)
  title = f'{found.metric} {frozen.value:.4f}, trial {frozen.number}'
  return f'''"""The best of a search: {title}.

Study {found.name}: {found.path.name} at size {found.size}, row {found.row}.

  gpt-jax train --config={path} --workdir=runs/best
"""

from gpt_jax.config.files import load_file


def get_config():
  config = load_file({base!r})
{body}
  return config
'''
