"""What the workdirs of a study say against a start: changed points, no right to write.

All of it is told before anything runs, with the ways out; nothing is ever deleted.
"""

import datetime

from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.execution import renamed
from gpt_jax.storage.urls import is_remote, move_command
from gpt_jax.sweeps import loading, states
from gpt_jax.workdir import files, lock

MAX_LISTED = 8


def require_ready(study, points, rerun_changed=False, only_look=False):
  """Returns notes to print, once nothing stands against running `points`.

  Args:
    rerun_changed: move the workdirs of changed points, and of all points of the study
      that need them, to a folder of their own, so that they run again.
    only_look: for a dry run: changed points are no error, and nothing is moved.
  Raises StorageError for folders that cannot be written, CheckpointError for points
  whose config has changed since they ran, ConfigError for a renamed experiment file.
  """
  files.check_writable_early(study.folder)
  notes = renamed.require_not_renamed(study)
  found = states.of_each(states.state_of, points)
  changed = {point: state for point, state in found.items() if state.changes}
  if only_look:
    return notes
  stale = _with_dependents(study, changed)
  running = [one for one in stale if states.living_owner(one.workdir)]
  if changed and (running or not rerun_changed):
    raise CheckpointError(_describe(study, points, changed, running))
  require_writable(study, points)
  if stale:
    notes = [*notes, _move_away(study, stale, set(stale) - set(points))]
  return notes


def require_writable(study, points):
  """Raises one StorageError for all folders of `points` that cannot be written.

  Creates the folder of the study. Points that are done are not asked for.
  """
  files.check_writable(study.folder)
  if is_remote(study.folder):
    return  # who may write there may write below
  wrong = []
  for point in points:
    try:
      files.check_writable_early(point.workdir)
    except StorageError as error:
      if not states.is_done(point):
        wrong.append(str(error))
  if wrong:
    more = f'\nand {len(wrong) - MAX_LISTED} more' if len(wrong) > MAX_LISTED else ''
    raise StorageError('\n'.join(wrong[:MAX_LISTED]) + more)


def _describe(study, points, changed, running):
  groups = {}
  for point, state in changed.items():
    for field, saved, now in state.changes:
      groups.setdefault((field, repr(saved), repr(now)), []).append(point.name)
  num_there = sum(states.state_of(point).kind != states.MISSING for point in points)
  lines = [
    f'{study.path}: {len(changed)} of {len(points)} points of --size={study.size} have'
    f' run with another config than the file states now, or from a run that was made'
    f' again since ({num_there} are there):'
  ]
  source = loading.Source(study.path)
  for (field, saved, now), names in list(groups.items())[: 2 * MAX_LISTED]:
    # What the file does not state is its base's, or follows from something it states.
    line = source.line_of((field,)) or source.line_of(('base',))
    place = f'{study.path}:{line}: ' if line else ''
    lines.append(f'  {place}{field}: {saved} -> {now} ({_listed(names)})')
  if len(groups) > 2 * MAX_LISTED:
    lines.append(f'  and {len(groups) - 2 * MAX_LISTED} more differences')
  if running:
    names = _listed([point.name for point in running])
    lines.append(f'Of these a process is at work in {names}.')
  move = move_command(study.folder, 'ELSEWHERE')
  lines += [
    'Nothing was started. The ways out:',
    '  restore the old values, and the points continue;',
    '  --rerun_changed: they run again, their workdirs are moved to a dated folder;',
    f'  {move}, or another --workdir: all points run again.',
  ]
  return '\n'.join(lines)


def _listed(names):
  shown = ', '.join(names[:2])
  return shown if len(names) <= 2 else f'{len(names)} points, such as {names[0]}'


def _with_dependents(study, changed):
  """Returns the points `changed` and all of the study that need them."""
  names = {point.name for point in changed}
  for point in study.points:  # needed ones come first
    if names.intersection(point.needs):
      names.add(point.name)
  return [point for point in study.points if point.name in names]


def _move_away(study, stale, not_chosen):
  """Moves the workdirs of `stale` points; returns a note."""
  now = datetime.datetime.now().strftime('%Y-%m-%d-%H%M%S')
  place = study.folder / f'before-{now}'
  files.check_writable(place)
  moved = [point for point in stale if point.workdir.exists()]
  for point in moved:
    with lock.held(point.workdir):  # nobody else begins there in this moment
      point.workdir.rename(place / point.name)
    (place / point.name / lock.FILE).unlink()
  files.sync_folder(study.folder)
  note = f'{len(moved)} points have changed; their old workdirs are in {place}'
  if left := [point.name for point in moved if point in not_chosen]:
    note += f'\nThose that need them have to run again, too: {_listed(left)}'
  return note
