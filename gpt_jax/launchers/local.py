"""This machine: a node of the run is a process, as a pod would start it."""

import pathlib
import shlex
import sys

from gpt_jax.launchers import processes, supervise
from gpt_jax.launchers.description import number_above_0

HAS_OUR_FOLDERS = True


def add_arguments(group):
  """Adds the flags that only this place has."""
  group.add_argument(
    '--processes', type=number_above_0, metavar='N', help='how many; as --nodes'
  )
  group.add_argument(
    '--devices_per_process',
    type=number_above_0,
    default=0,
    metavar='N',
    help='virtual CPU devices in each process; default: the devices that are there',
  )
  group.add_argument(
    '--stop_seconds',
    type=float,
    default=30.0,
    metavar='S',
    help='after a failure, how long the others may take to end; default: 30',
  )
  _add_supervision(group)


def _add_supervision(group):
  group.add_argument(
    '--supervise', action='store_true', help='start again after a crash'
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
    type=number_above_0,
    default=3,
    metavar='N',
    help='stop after so many crashes in a row without a new save; default: 3',
  )


def problems(description, args):
  """Returns what is wrong with the flags, a line each."""
  found = []
  if args.processes is None and args.nodes is None:
    found.append('--processes is missing; give how many, as in --processes=2.')
  if args.nodes not in (None, args.processes) and args.processes:
    found.append(
      f'--nodes={args.nodes}: a node is a process here, and --processes='
      f'{args.processes} says another number; leave one of them out.'
    )
  if description.topology:
    found.append(
      f'--topology={description.topology}: this machine has the devices that it has;'
      ' --devices_per_process=N makes virtual ones of a CPU.'
    )
  for flag in ('stop_seconds', 'restart_seconds', 'hang_seconds'):
    if not getattr(args, flag) >= 0:
      found.append(f'--{flag}={getattr(args, flag)}: expected 0 or more seconds.')
  if args.supervise and not description.workdir:
    found.append('--supervise: needs a run with --workdir, to see its progress.')
  return found


def num_processes(description, args):
  """Returns how many processes the run has."""
  return args.processes or description.nodes


def num_devices(description, args):
  """Returns None: the processes say what is wrong as soon as a submission would."""
  return None


def dry_run(description, args):
  """Returns the command of each process, with the variables that it gets."""
  num = args.processes or description.nodes
  lines = ['# PORT: one that is free when the run starts']
  for index in range(num):
    own = processes.variables('127.0.0.1:PORT', num, index, args.devices_per_process)
    settings = {**description.environment, **own}
    words = [f'{name}={shlex.quote(value)}' for name, value in settings.items()]
    log = (
      ''
      if index == 0 or not (folder := _logs(description, args))
      else (f' >> {processes.log_of(folder, index)} 2>&1')
    )
    program = f'{sys.executable} -m gpt_jax'
    lines.append(f'{" ".join(words)} {description.shell_command(program)}{log} &')
  return '\n'.join([*lines, 'wait'])


def launch(description, args):
  """Returns the exit code of the run, which ends before this does."""

  def attempt(is_hung=lambda: False):
    return processes.run(
      [sys.executable, '-m', 'gpt_jax', *description.command],
      processes=args.processes or description.nodes,
      devices_per_process=args.devices_per_process,
      environment=description.environment,
      log_dir=_logs(description, args),
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
  return supervise.supervise(attempt, description.workdir, policy, processes.say)


def _logs(description, args):
  """Returns the folder of the logs of processes 1, 2, ..., or None: shown here."""
  if args.log_dir:
    return pathlib.Path(args.log_dir)
  if description.workdir is None:
    return None
  from gpt_jax.workdir.paths import Workdir  # it brings jax

  return Workdir(description.workdir).logs
