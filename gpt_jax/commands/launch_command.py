"""Starts a run as several processes on this machine, as a pod would start it.

What stands after `--` is the gpt-jax command that each process runs. Process 0 has this
terminal; the others write to WORKDIR/logs/process_N.log, or here with a prefix where
the command has no --workdir. SIGINT and SIGTERM go to all processes, which save and end
with 75. When one fails, the others are stopped, the end of its log is shown, and its
exit code becomes the launcher's (128 + the signal if it was killed).

With --supervise all processes are started again when one crashes, is killed, is
preempted (75) or hangs. Mistakes of the user (2 to 6), Ctrl-C and SIGTERM end the run.
docs/reliability.md says what that promises.

examples:
  gpt-jax launch --processes=2 -- train --config=configs/tiny.py --workdir=runs/two
  gpt-jax launch --processes=2 --devices_per_process=4 -- \\
      train --config=configs/tiny.py --workdir=runs/eight_devices
  gpt-jax launch --processes=2 --supervise -- \\
      train --config=configs/tiny.py --workdir=runs/supervised
"""

import argparse
import sys

from gpt_jax.core.errors import ConfigError
from gpt_jax.workdir import files


def add_arguments(parser):
  parser.add_argument(
    '--where', default='local', metavar='PLACE', help='local, this machine (default)'
  )
  parser.add_argument(
    '--processes', type=_positive, metavar='N', help='how many; has to be given'
  )
  parser.add_argument(
    '--devices_per_process',
    type=_positive,
    default=0,
    metavar='N',
    help='virtual CPU devices in each process; default: the devices that are there',
  )
  parser.add_argument(
    '--log_dir',
    metavar='DIR',
    help='where processes 1, 2, ... write; default: WORKDIR/logs',
  )
  parser.add_argument(
    '--stop_seconds',
    type=float,
    default=30.0,
    metavar='S',
    help='after a failure, how long the others may take to end; default: 30',
  )
  _add_supervision(parser)


def _add_supervision(parser):
  group = parser.add_argument_group('starting again')
  group.add_argument(
    '--supervise', action='store_true', help='start again after a crash'
  )
  group.add_argument(
    '--max_restarts', type=int, default=10, metavar='N', help='in all; default: 10'
  )
  group.add_argument(
    '--restart_seconds',
    type=float,
    default=5.0,
    metavar='S',
    help='wait before a restart; default: 5',
  )
  group.add_argument(
    '--hang_seconds',
    type=float,
    default=1800.0,
    metavar='S',
    help='kill and restart when nothing in the workdir has changed for this long; set'
    ' it above the time of a compilation and an evaluation; default: 1800; 0: never',
  )
  group.add_argument(
    '--same_step_crashes',
    type=_positive,
    default=3,
    metavar='N',
    help='stop after so many crashes in a row without a new save; default: 3',
  )


def run(args, overrides):
  command = args.command_line
  if args.where != 'local':
    raise ConfigError(
      f'--where={args.where}: only local is supported so far, other places come later.'
      ' On a cluster start `gpt-jax train` once on each host (launch/README.md).'
    )
  if args.processes is None:
    raise ConfigError('--processes is missing; give how many, as in --processes=2.')
  if not command or overrides:
    raise ConfigError(
      'the command to run stands after --, with all its flags: gpt-jax launch'
      ' --processes=2 -- train --config=... --workdir=...'
    )
  workdir = _workdir(command)
  if args.supervise and not workdir:
    raise ConfigError('--supervise: needs a run with --workdir, to see its progress.')
  if workdir and command[0] == 'train':
    _require_free(workdir)
  return _launch([sys.executable, '-m', 'gpt_jax', *command], workdir, args)


def _require_free(workdir):
  """Raises StorageError where no run can start in `workdir`, before a log is there."""
  from gpt_jax.workdir import lock
  from gpt_jax.workdir.paths import Workdir

  files.check_writable_early(workdir)
  Workdir(workdir).require_run_or_empty()
  lock.require_unlocked(workdir)


def _launch(command, workdir, args):
  from gpt_jax.launchers import local, supervise
  from gpt_jax.workdir.paths import Workdir

  def attempt(is_hung=lambda: False):
    return local.run(
      command,
      processes=args.processes,
      devices_per_process=args.devices_per_process,
      log_dir=args.log_dir or (workdir and Workdir(workdir).logs),
      stop_seconds=args.stop_seconds,
      is_hung=is_hung,
    )

  if not args.supervise:
    exit_code, _ = attempt()
    return exit_code
  policy = supervise.Policy(
    max_restarts=args.max_restarts,
    restart_seconds=args.restart_seconds,
    hang_seconds=args.hang_seconds,
    same_step_crashes=args.same_step_crashes,
  )
  return supervise.supervise(attempt, workdir, policy, local.say)


def _workdir(command):
  """Returns the workdir that `command` names, or None."""
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  parser.add_argument('--workdir')
  workdir = parser.parse_known_args(command)[0].workdir
  return None if workdir is None else files.as_folder(workdir)


def _positive(text):
  number = int(text)
  if number < 1:
    raise argparse.ArgumentTypeError(f'expected a whole number above 0, got {text}')
  return number
