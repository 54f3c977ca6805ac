"""The points of an experiment at one size, expanded, resolved and checked, all of them.

Every problem of every point is found before any is told: `Expansion.mistakes`.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from gpt_jax.config import files
from gpt_jax.config.schema import Config
from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.core.registry import nearest
from gpt_jax.interop import open_model
from gpt_jax.program import setup
from gpt_jax.storage import objects, urls
from gpt_jax.sweeps import epoch_steps, names
from gpt_jax.sweeps.algebra import ROW, product, rows, seeds
from gpt_jax.sweeps.experiment import FromRow
from gpt_jax.sweeps.mistakes import Mistake, PointMistakes
from gpt_jax.workdir.paths import Workdir

# What a single run draws and writes for its reader, and a sweep shows in its report:
# together they take longer than a short run. An experiment may switch them on again.
QUIET = {
  'logging.figures': False,
  'logging.tensorboard': False,
  'logging.sample_prompts': (),
  'logging.sample_every_steps': 0,
}


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedPoint:
  """What makes a point, its folder aside."""

  name: str
  row: str
  axes: Mapping[str, Any]
  overrides: Mapping[str, Any]
  config: Config
  needs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Expansion:
  """The points of a size; those with mistakes are missing."""

  entries: tuple[PlannedPoint, ...]  # a needed one before those that need it
  duplicates: tuple[
    tuple[PlannedPoint, str], ...
  ]  # (left out, name of the same config's)
  mistakes: list[Mistake]


def expand(experiment, size, folder):
  """Returns the Expansion of a valid `experiment`; `folder` holds its points."""
  spec = experiment.sizes[size].base or experiment.base
  try:
    base = files.load_file(spec).to_dict()
    settings = _settings(experiment, size)
  except ConfigError as error:
    text = str(error).removeprefix('--config=').removeprefix(f'{spec}: ')
    return Expansion((), (), [Mistake(f'base={spec!r}: {text}', ('base',))])
  return _Expander(experiment, size, folder, base, settings).run()


def _settings(experiment, size):
  """Returns [(row, axes)] of a size, without those of rows that it leaves out."""
  chosen = experiment.sizes[size]
  all_rows = chosen.only_rows or tuple(experiment.rows)
  sweep = product(chosen.sweep, seeds(*chosen.seeds)) if chosen.seeds else chosen.sweep
  if not any(ROW in one for one in sweep):
    sweep = product(rows(*all_rows), sweep)
  found = []
  for one in sweep:
    axes = {field: value for field, value in one.items() if field != ROW}
    named = one.get(ROW)
    found += [(row, axes) for row in ((named,) if named else all_rows)]
  return [(row, axes) for row, axes in found if row in all_rows]


class _Expander:
  """Visits every point once, those that it needs first."""

  def __init__(self, experiment, size, folder, base, settings):
    self._experiment, self._size, self._folder = experiment, size, folder
    self._base, self._settings = base, settings
    self._defaults = dict(QUIET)
    if not base['data']['cache_dir'] and not urls.is_remote(folder):
      # Beside the points: those of one text tokenize it once. In a bucket they share a
      # folder of the machine (workdir/paths.py).
      self._defaults['data.cache_dir'] = str(folder.parent / 'cache')
    self._names = names.point_names(settings)
    self._by_key = {_key(*one): i for i, one in enumerate(settings)}
    self._kept_as = {}  # name -> name of the entry with its config
    self._by_hash, self._entries, self._open = {}, {}, []
    self._epoch_steps = epoch_steps.EpochSteps()
    self._duplicates = []
    self._mistakes = PointMistakes(len(settings))

  def run(self):
    for index in range(len(self._settings)):
      self._visit(index)
    return Expansion(
      tuple(self._entries.values()), tuple(self._duplicates), self._mistakes.listed()
    )

  def _visit(self, index):
    """Returns the name under which the point is kept, None where it has mistakes."""
    name = self._names[index]
    if name in self._kept_as:
      return self._kept_as[name]
    row, axes = self._settings[index]
    if index in self._open:
      circle = [self._settings[i][0] for i in self._open[self._open.index(index) :]]
      text = ' -> '.join([*circle, row])
      self._mistakes.add(name, f'rows need each other in a circle: {text}', row)
      return None
    self._open.append(index)
    kept = self._kept_as[name] = self._make(name, row, axes)
    self._open.pop()
    return kept

  def _make(self, name, row, axes):
    overrides = self._overrides(row, axes)
    of_row = self._fields_of_row(row)
    try:
      needs = self._replace_rows(name, row, axes, overrides)
      config = setup.resolve(self._base, self._defaults | overrides)
    except ConfigError as error:
      self._mistakes.add_config_error(name, error, overrides, row, of_row)
      return None
    if needs is None:
      return None
    # The frozen config in full, at a tenth of the time that nested dicts take.
    key = hashlib.sha256(repr(config).encode()).digest()
    kept = self._by_hash.setdefault(key, name)
    if kept == name:
      try:
        self._check(config, needs)
        config = self._epoch_steps.fill_in(config, self._folder / name)
      except UserError as error:
        self._mistakes.add_config_error(name, error, overrides, row, of_row)
      self._entries[name] = PlannedPoint(name, row, axes, overrides, config, needs)
    else:
      entry = PlannedPoint(name, row, axes, overrides, config, needs)
      self._duplicates.append((entry, kept))
    return kept

  def _overrides(self, row, axes):
    chosen = self._experiment.sizes[self._size]
    return {
      **self._experiment.overrides,
      **chosen.overrides,
      **self._experiment.rows[row],
      **chosen.rows.get(row, {}),
      **axes,
    }

  def _fields_of_row(self, row):
    chosen = self._experiment.sizes[self._size]
    return self._experiment.rows[row].keys() | chosen.rows.get(row, {}).keys()

  def _replace_rows(self, name, row, axes, overrides):
    """Puts workdirs in the place of FromRows; returns the names, None on a mistake."""
    needs, is_whole = [], True

    def replace(value):
      nonlocal is_whole
      if isinstance(value, FromRow):
        needed = self._needed(name, row, axes, value)
        is_whole = is_whole and needed is not None
        needs.append(needed)
        return str(self._folder / needed) if needed else ''
      if isinstance(value, Mapping):
        return {key: replace(item) for key, item in value.items()}
      if isinstance(value, (tuple, list)):
        return type(value)(replace(item) for item in value)
      return value

    overrides.update({field: replace(value) for field, value in overrides.items()})
    return tuple(dict.fromkeys(needs)) if is_whole else None

  def _needed(self, name, row, axes, value):
    others = {f: v for f, v in axes.items() if v != value}
    for wanted in (axes, others):
      if (index := self._by_key.get(_key(value.row, wanted))) is not None:
        return self._visit(index)
    known = self._experiment.rows
    if value.row not in known:
      hint = nearest(value.row, known)
      text = f'no such row; did you mean {hint!r}?' if hint else 'no such row;'
      text += f' rows: {", ".join(known)}'
    else:
      text = (
        f'row {row!r} needs its point of the same axes and seed, and there is none at'
        f' size {self._size!r}; give row {value.row!r} these axes, or add it to'
        ' only_rows'
      )
    self._mistakes.add(name, f'FromRow({value.row!r}): {text}', row, value.row)
    return None

  def _check(self, config, needs):
    planned = {str(self._folder / n): self._entries[n].config for n in needs}
    setup.check_plan(config, planned)
    source = config.init_from
    if source and source not in planned and not open_model.is_model(source):
      if not objects.is_folder(Workdir(config.init_from).checkpoints):
        raise ConfigError(
          f'init_from={config.init_from!r}: no checkpoints there; expected the'
          " workdir of a run, or FromRow('ROW') for another row of the experiment"
        )


def _key(row, axes):
  return row, frozenset(axes.items())
