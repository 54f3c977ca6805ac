"""The flags of `gpt-jax sweep --search`, and what they start."""

import json
import re

from gpt_jax.core.errors import ConfigError, Interrupted


def add_arguments(parser):
  """Adds the flags of a search to the parser of `gpt-jax sweep`."""
  group = parser.add_argument_group(
    'search', "instead of the file's points, the best config in its ranges (`search=`)"
  )
  group.add_argument(
    '--search', metavar='SAMPLER', help='tpe, random or grid; needs gpt_jax[sweep]'
  )
  group.add_argument(
    '--trials',
    type=int,
    metavar='N',
    help='of the study in all; a grid: all by default',
  )
  group.add_argument(
    '--storage',
    metavar='URL',
    help='any that Optuna takes, such as postgresql://USER@HOST/DATABASE, for several'
    ' machines; default: SQLite in the folder of the study',
  )
  group.add_argument(
    '--study', metavar='NAME', help='a new name begins a new study (default: search)'
  )
  group.add_argument(
    '--rungs',
    type=int,
    metavar='N',
    help='evaluations at which only the best third of all trials continues, the last'
    ' one after a third of the steps (default: 2; 0: no pruning)',
  )


def is_wanted(args):
  """Returns whether `args` ask for a search; ConfigError where they do by half."""
  if args.search is not None:
    return True
  for name in ('trials', 'storage', 'study', 'rungs'):
    if (value := getattr(args, name)) is not None:
      raise ConfigError(f'--{name}={value}: of a search; add --search=tpe.')
  return False


def run(args):
  """Returns the exit code, after the search that `args` ask for."""
  _check(args)
  from gpt_jax.search import display, outputs, search
  from gpt_jax.tracking import console

  found = search.open_search(
    args.file,
    args.size,
    args.workdir,
    sampler=args.search,
    num_trials=args.trials,
    storage=args.storage,
    name=args.study or 'search',
    row=args.only[0] if args.only else None,
    num_rungs=2 if args.rungs is None else args.rungs,
  )
  ranges = ', '.join(f'{one.field}: {one}' for one in found.space)
  print(f'study {found.name} in {found.storage}: {ranges}', flush=True)
  try:
    with display.Display(found) as show:
      search.run(found, show)
  except (Interrupted, KeyboardInterrupt):
    outputs.write_all(found)
    raise Interrupted(
      'stopped: the trial at work is saved; the same command continues there.'
    ) from None
  paths = outputs.write_all(found)
  listed = outputs.trials(found)
  console.make_console().print(outputs.table(found, listed))
  if len(listed) > outputs.MAX_LISTED:
    print(f'{len(listed)} trials in all: {paths[0]}')
  for path in paths:
    print(path)
  if args.json:
    print(json.dumps(outputs.as_json(found, listed, paths)))
  return 0 if found.best() is not None else 6


def _check(args):
  for name in ('dry_run', 'rerun_changed'):
    if getattr(args, name):
      raise ConfigError(f'--{name}: of a sweep over points; leave it out of a search.')
  if args.jobs != 1:
    raise ConfigError(
      f'--jobs={args.jobs}: a search takes as many processes as there are; start this'
      ' command several times, on one machine or on many with --storage.'
    )
  if args.trials is not None and args.trials < 1:
    raise ConfigError(f'--trials={args.trials}: expected at least 1.')
  if args.rungs is not None and args.rungs < 0:
    raise ConfigError(f'--rungs={args.rungs}: expected 0 (no pruning) or more.')
  if len(args.only) > 1:
    raise ConfigError(f'--only: a search is over one row, not {len(args.only)}.')
  name = args.study
  if name is not None and not re.fullmatch(r'[A-Za-z0-9_-][A-Za-z0-9._-]*', name):
    raise ConfigError(f'--study={name}: expected letters, digits, and any of . _ -')
