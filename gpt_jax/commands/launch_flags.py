"""The flags of `gpt-jax launch` and `gpt-jax sweep` that say where and how to start."""

import argparse
import os

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import choose
from gpt_jax.launchers import PLACES, description


def add_arguments(parser, *, places=tuple(PLACES)):
  """Adds the flags of all places, and those of each of `places`."""
  group = parser.add_argument_group('where and how')
  group.add_argument(
    '--where',
    default='local',
    metavar='PLACE',
    help=f'{", ".join(PLACES)}; default: local, this machine',
  )
  group.add_argument(
    '--nodes',
    type=description.number_above_0,
    metavar='N',
    help='hosts, of TPUs slices; default: 1',
  )
  group.add_argument(
    '--topology', default='', metavar='NAME', help='of TPU slices, such as v5e:4x4'
  )
  group.add_argument(
    '--name', metavar='NAME', help='of the job; default: that of the workdir'
  )
  group.add_argument(
    '--env',
    action='append',
    default=[],
    metavar='NAME=VALUE',
    help='a variable of all processes; NAME alone: with its value here; repeatable',
  )
  group.add_argument(
    '--wait',
    action='store_true',
    help='return when all has ended, with its exit code; local always does',
  )
  group.add_argument(
    '--log_dir',
    type=flags.local_path,
    metavar='DIR',
    help='of the processes; default: WORKDIR/logs',
  )
  group.add_argument(
    '--max_restarts',
    type=int,
    default=10,
    metavar='N',
    help='start again after at most so many crashes; default: 10. On a cluster, stops'
    ' that were saved (75) do not count',
  )
  for name in places:
    PLACES[name].add_arguments(parser.add_argument_group(f'--where={name}'))


def add_to_sweep(parser):
  """Adds those of the places where each point of a sweep is a task of its own."""
  add_arguments(parser, places=_ELSEWHERE)
  add_at_once(parser)


def add_at_once(parser):
  parser.add_argument(
    '--at_once',
    type=description.number_above_0,
    metavar='N',
    help='tasks of --where at once, such as the %%N of an array; default: all',
  )


def is_elsewhere(args):
  """Returns whether to launch a sweep; ConfigError for flags without effect."""
  choose(PLACES, args.where, '--where')
  if args.where != 'local':
    return True
  parser = argparse.ArgumentParser(add_help=False)
  add_to_sweep(parser)
  for action in parser._actions:
    if getattr(args, action.dest) != action.default:
      raise ConfigError(
        f'{action.option_strings[0]}: of a sweep on a cluster; add'
        f' --where={" or ".join(_ELSEWHERE)}.'
      )
  return False


def describe(args, command, *, name=None, workdir=None, tasks=(), check=None):
  """Returns (place, Description) of parsed flags; ConfigError with all problems.

  Args:
    command: the words after gpt-jax.
    name, workdir: where they do not follow from `command`.
    tasks: of a sweep, or shares of the work.
    check: `(place, description) -> problems` of what is to run.
  """
  place = choose(PLACES, args.where, '--where')
  environment, problems = description.environment_of(args.env)
  found = description.Description(
    command=tuple(command),
    name=args.name or name or description.name_of(command),
    workdir=workdir or description.workdir_of(command),
    nodes=int(args.nodes or 1),
    topology=args.topology,
    environment=environment,
    folder=os.getcwd(),
    tasks=tuple(tasks),
    at_once=args.at_once or 0,
  )
  problems += description.number_problems(args)
  problems += _of_other_places(args) + place.problems(found, args)
  if args.max_restarts < 0:
    problems.append(f'--max_restarts={args.max_restarts}: expected 0 or more.')
  problems += check(place, found) if check else []
  if problems:
    raise ConfigError('\n'.join(problems))
  return place, found


_ELSEWHERE = tuple(name for name in PLACES if name != 'local')


def _of_other_places(args):
  """Returns a problem for each flag that the place of `args` would not read."""
  own = _defaults(PLACES[args.where])
  found = {}
  for name, place in PLACES.items():
    for flag, default in _defaults(place).items():
      dest = flag.removeprefix('--')
      if flag not in own and getattr(args, dest, default) != default:
        found.setdefault(flag, []).append(name)
  return [
    f'{flag}: belongs to --where={" or ".join(names)}, and this is'
    f' --where={args.where}.'
    for flag, names in found.items()
  ]


def _defaults(place):
  """Returns {flag: default} of the flags that `place` adds."""
  parser = argparse.ArgumentParser(add_help=False)
  place.add_arguments(parser)
  return {action.option_strings[0]: action.default for action in parser._actions}
