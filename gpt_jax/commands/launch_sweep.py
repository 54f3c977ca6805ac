"""`gpt-jax sweep FILE --where=PLACE`: each point that is missing is a task there."""

import os

from gpt_jax.commands import launch_checks, launch_flags
from gpt_jax.core.errors import ConfigError
from gpt_jax.launchers.description import Task
from gpt_jax.storage.urls import is_remote

HERE_ALONE = {'jobs': 1, 'vectorize': (), 'search': None, 'json': False, 'join': False}
"""Flags of `sweep` for its own processes, with the value that means nothing."""


def run(args):
  """Returns the exit code of launching the points of the experiment in `args`."""
  _refuse_together(args)
  from gpt_jax.analysis import checks
  from gpt_jax.execution import preflight
  from gpt_jax.sweeps import points, states

  study = points.open_study(
    args.file, args.size, args.workdir, check=checks.mistakes_of
  )
  chosen = points.select(study, args.only)
  missing = [point for point in chosen if not states.is_done(point)]
  place, description = _describe(args, study, missing)
  notes = preflight.require_ready(study, chosen, args.rerun_changed, args.dry_run)
  if args.dry_run:
    print(place.dry_run(description, args))
    return 0
  num_done = len(chosen) - len(missing)
  for note in [*study.notes, *notes]:
    print(note)
  print(f'{len(missing)} of {len(chosen)} points to run; {num_done} are done')
  return place.launch(description, args) if missing else 0


def _refuse_together(args):
  wrong = [
    f'--{name}' for name, unset in HERE_ALONE.items() if getattr(args, name) != unset
  ]
  if wrong:
    raise ConfigError(
      f'{", ".join(wrong)}: for a sweep in processes of this machine; with'
      f' --where={args.where} each point is a task there (gpt-jax status shows them).'
    )


def _describe(args, study, missing):
  root = args.workdir or 'runs'
  if not is_remote(root):
    root = os.path.abspath(root)
  command = ['sweep', os.path.abspath(args.file), f'--size={study.size}']
  command += [f'--workdir={root}', '--join']
  names = {point.name for point in missing}
  tasks = [
    Task(
      point.name,
      (f'--only={point.name}',),
      tuple(name for name in point.needs if name in names),
    )
    for point in missing
  ]
  return launch_flags.describe(
    args,
    command,
    name=f'{study.name}-{study.size}',
    workdir=str(study.folder),
    tasks=tasks,
    check=lambda place, found: _misfits(place, found, args, missing),
  )


def _misfits(place, description, args, points):
  """Returns a text for each kind of point whose mesh does not fit."""
  found = {}
  try:
    devices = place.num_devices(description, args)
  except ConfigError:  # `place.problems` has told it
    return []
  for point in points:
    try:
      launch_checks.require_mesh_fits(point.config, description.nodes, devices)
    except ConfigError as error:
      found.setdefault(str(error), point.name)
  return [f'{name}: {text}' for text, name in found.items()]
