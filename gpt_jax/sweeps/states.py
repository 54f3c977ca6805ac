"""How far the points of a study are, read from their workdirs and nothing else."""

import dataclasses
import json
import os
from typing import Any

from gpt_jax.config import load, options
from gpt_jax.config.diff import diff
from gpt_jax.config.migrate import migrated
from gpt_jax.core.errors import StorageError
from gpt_jax.program.horizon import make_horizon
from gpt_jax.storage import objects
from gpt_jax.storage.objects import is_whole
from gpt_jax.storage.places import place
from gpt_jax.train import changeable
from gpt_jax.workdir import files, lock
from gpt_jax.workdir.paths import Workdir

DONE, RUNNING, FAILED, CHANGED = 'done', 'running', 'failed', 'changed'
STARTED, MISSING = 'started', 'missing'
KINDS = (DONE, RUNNING, FAILED, CHANGED, STARTED, MISSING)

# A run that continues may have other values there; results with other ones are not of
# the same experiment: another length, other scores or scores at other steps, other
# parameters to start from.
_OF_RESULTS = (
  'train.steps', 'train.tokens', 'eval.sets', 'eval.metrics', 'eval.max_batches',
  'init_from', 'init',
)  # fmt: skip
FREE_FIELDS = tuple(
  {*changeable.CHANGEABLE_FIELDS, 'eval.batch_size'} - {*_OF_RESULTS, 'eval'}
)
"""Fields (or sections) that change no result of a point, save as `_is_free` says."""
_STATISTICS = 'logging.statistics', 'logging.statistics_every_steps'
_LAYER_NORMS = 'logging.layer_norms_every_steps'


@dataclasses.dataclass(frozen=True)
class State:
  """How far a point is."""

  kind: str  # one of KINDS; started: stopped or killed, to be continued
  why: str = ''  # failed: the first line of the reason; running: by whom
  # changed: (field, saved, now); also of a run that this one has started from
  changes: tuple[tuple[str, Any, Any], ...] = ()


def state_of(point):
  """Returns the State of `point`."""
  workdir = place(point.workdir)
  saved = _read_json(workdir / 'config.json')
  changes = _changes(point, saved) if saved else []
  owner = living_owner(workdir)
  if owner:
    return State(RUNNING, str(owner), tuple(changes))
  if changes:
    return State(CHANGED, changes=tuple(changes))
  if saved and _is_finished(point.config, workdir):
    return State(DONE)
  failure = _read_json(workdir / 'failure.json')
  if failure:
    return State(FAILED, failure.get('why', ''))
  return State(STARTED if saved else MISSING)


def of_each(read, points):
  """Returns {point: read(point)}, such as `state_of`; in a bucket several at once."""
  points = list(points)
  found = objects.read_each(read, points, points[0].workdir) if points else []
  return dict(zip(points, found, strict=True))


def is_done(point):
  """Returns whether a point's run, with its present config, has come to its end."""
  workdir = place(point.workdir)
  if not _is_finished(point.config, workdir):
    return False
  saved = _read_json(workdir / 'config.json')
  return bool(saved) and not _changes(point, saved)


def _changes(point, saved):
  found = changed_fields(point, saved)
  return [*found, *remade_sources(point.workdir)] if point.needs else found


def remade_sources(workdir):
  """Returns [('run of NAME', its time, its time now)] of points that were run again.

  Of those that the run in `workdir` has started from or reads, and those that they have
  started from: its results are of runs that are not there any more.
  """
  workdir, found = place(workdir), []
  starts = (_read_json(workdir / 'run.json') or {}).get('starts') or []
  used = [item for one in starts for item in one.get('sources', {}).items()]
  for path, time in dict.fromkeys(used):
    source = workdir.parent / os.path.basename(path)
    if os.path.basename(os.path.dirname(path)) != workdir.parent.name:
      continue  # no point of the study
    there = (_read_json(source / 'run.json') or {}).get('starts') or [{}]
    now = there[0].get('time')
    if now != time:
      found.append((f'run of {source.name}', time, now or 'not there'))
    else:
      found += remade_sources(source)
  return found


def total_steps(config):
  """Returns the steps of a run, also of one whose length is given in tokens."""
  return make_horizon(config.train, config.data.seq_len).total_steps


def read_saved_config(workdir):
  """Returns the config.json of a workdir as nested dicts, or None."""
  return _read_json(place(workdir) / 'config.json')


def _is_finished(config, workdir):
  # A step has its name once it is complete (a rename), the last one is kept, and it is
  # saved after its evaluation.
  folder = workdir / 'checkpoints'
  if is_whole(folder / str(total_steps(config))):
    return True
  if not folder.is_dir():
    return False
  events = (_read_json(workdir / 'run.json') or {}).get('events') or [{}]
  was_ended = events[-1].get('kind') == 'stopped'  # by a hook
  return was_ended and is_whole(folder / str(events[-1]['step']))


def changed_fields(point, saved):
  """Returns [(field, saved, now)] in which config.json is another point's."""
  now = load.to_dict(point.config)
  saved_rows = saved.get('model', {}).get('vocab_size')
  if now['model']['vocab_size'] is None:  # filled in when the tokenizer is open
    now['model']['vocab_size'] = saved_rows
  if saved == now:
    return []
  saved, _ = migrated(saved)  # not a word for each of a thousand points
  options.fill_absent(saved, point.config)
  found = diff(saved, now)
  return [
    one
    for one in found
    if not _is_free(point.config, *one) and not _is_moved(point, *one)
  ]


def _is_free(config, field, saved, now):
  if field in _STATISTICS:  # those of more than is asked for will do
    is_measured = bool(config.logging.statistics)
    return not is_measured or (field == _STATISTICS[0] and set(now) <= set(saved))
  if field == _LAYER_NORMS:
    return not now
  if field == 'eval.batch_size' and config.eval.max_batches:
    return False  # as many batches of another size are another text
  return any(field == free or field.startswith(f'{free}.') for free in FREE_FIELDS)


def _is_moved(point, field, saved, now):
  """Returns whether a field names the same point in a folder that was moved."""
  both = isinstance(saved, str) and isinstance(now, str)
  return both and any(
    os.path.basename(saved) == os.path.basename(now) == name for name in point.needs
  )


def living_owner(workdir):
  """Returns the lock.Owner that trains there, None when none does or it has ended."""
  return lock.living_owner(workdir)


def _read_json(path):
  """Returns the dict in a JSON file; None where there is none, or none to be read."""
  try:
    value = json.loads(path.read_text(encoding='utf-8'))
  except StorageError:  # a bucket that does not answer: not known is not absent
    raise
  except (OSError, ValueError):
    return None
  return value if isinstance(value, dict) else None


def write_failure(point, why, exit_code, text='', time=0.0):
  """Records why a point failed, for `status` and the next start."""
  workdir = Workdir(point.workdir)
  record = dict(why=why, exit_code=exit_code, text=text, time=time)
  try:
    workdir.path.mkdir(parents=True, exist_ok=True)
    files.write_json(workdir.failure, record)
  except (OSError, StorageError):
    pass  # the sweep says it as well


def read_failure(point):
  """Returns the record of `write_failure`, or None."""
  return _read_json(Workdir(point.workdir).failure)


def clear_failure(point):
  Workdir(point.workdir).failure.unlink(missing_ok=True)
