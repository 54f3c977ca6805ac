"""SLURM: sbatch takes a script in which srun starts the processes of a run.

A sweep is an array of jobs, or several where it is larger than the cluster allows;
points that need others are a later array. Folders here are those of the nodes: the code
runs where it is.
"""

import os
import re

from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.launchers import slurm_jobs, slurm_limits, slurm_script, steps
from gpt_jax.launchers.description import number_above_0
from gpt_jax.launchers.processes import say
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files

HAS_OUR_FOLDERS = True
_AFTER = '--dependency=afterany:'
PROGRAMS = 'sbatch', 'srun', 'scontrol', 'scancel', 'sinfo'


def add_arguments(group):
  """Adds the flags that only this place has."""
  group.add_argument('--partition', metavar='NAME', help="default: the cluster's")
  group.add_argument('--account', metavar='NAME', help='that pays')
  group.add_argument('--qos', metavar='NAME', help='quality of service')
  group.add_argument(
    '--time', metavar='LIMIT', help='as of sbatch, such as 30 (minutes) or 1-12:00:00'
  )
  group.add_argument(
    '--save_seconds',
    type=number_above_0,
    default=300,
    metavar='S',
    help='so long before the time limit the run is told to save, and is requeued;'
    ' default: 300',
  )
  group.add_argument(
    '--gpus_per_node', type=number_above_0, metavar='N', help='default: no GPUs'
  )
  group.add_argument(
    '--task_per',
    choices=('host', 'gpu'),
    default='host',
    help='processes of the run: one a host with all its devices (default), or a GPU',
  )
  group.add_argument(
    '--cpus_per_task',
    type=number_above_0,
    metavar='N',
    help='cores of a process; default: whole nodes, shared with nobody',
  )
  group.add_argument('--mem', metavar='SIZE', help='of a node, such as 64G')
  group.add_argument(
    '--sbatch',
    action='append',
    default=[],
    metavar='=--FLAG',
    help='a further line for sbatch, such as --sbatch=--constraint=a100; repeatable',
  )


def problems(description, args):
  """Returns what is wrong with the flags, a line each."""
  found = []
  if description.topology:
    found.append(
      f'--topology={description.topology}: SLURM knows nodes; give --nodes and'
      ' --gpus_per_node, and --sbatch=--constraint=NAME for a kind of them.'
    )
  if args.task_per == 'gpu' and not args.gpus_per_node:
    found.append('--task_per=gpu: how many? Give --gpus_per_node=N as well.')
  if not re.fullmatch(r'[^\s/\\%]+', description.name):
    found.append(
      f'--name={description.name!r}: expected a name without spaces, slashes and %.'
    )
  found += [
    f'--sbatch={line}: expected a flag of sbatch, such as --constraint=a100.'
    for line in args.sbatch
    if not re.fullmatch(r'--[a-z].*', line)
  ]
  if args.time is not None:
    found += _time_problems(args)
  if args.mem and not re.fullmatch(r'\d+[KMGT]?', args.mem):
    found.append(
      f'--mem={args.mem}: expected megabytes, or a number with K, M, G or T, such as'
      ' 64G.'
    )
  if not args.dry_run:
    way_out = (
      'Debian has them in slurm-client (apt install slurm-client); or start from a'
      ' login node of the cluster'
    )
    found += steps.missing_programs(PROGRAMS, args.where, way_out)
  return found


def _time_problems(args):
  seconds = seconds_of(args.time)
  if seconds is None:
    return [
      f'--time={args.time}: expected minutes, [hours:]minutes:seconds or'
      ' days-hours[:minutes[:seconds]].'
    ]
  if seconds <= args.save_seconds:
    return [
      f'--time={args.time}: are {seconds} s, and --save_seconds={args.save_seconds}'
      ' before the end the run is to save; give more time, or lower --save_seconds.'
    ]
  return []


def seconds_of(limit):
  """Returns the seconds of a time limit of sbatch, or None for another text."""
  form = r'(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})'
  if not (found := re.fullmatch(form, limit)):
    return None
  rest = [int(number) for number in found['rest'].split(':')]
  if found['days']:
    hours, minutes, seconds = (*rest, 0, 0)[:3]
  elif len(rest) == 3:
    hours, minutes, seconds = rest
  else:
    hours, minutes, seconds = 0, *(*rest, 0)[:2]
  days = int(found['days'] or 0)
  return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def num_processes(description, args):
  """Returns how many processes a task has: one on each node, or for each GPU."""
  return description.nodes * (slurm_script.tasks_per_node(args) or 1)


def num_devices(description, args):
  """Returns how many devices a task has; None without GPUs, whose number is given."""
  return description.nodes * args.gpus_per_node if args.gpus_per_node else None


def dry_run(description, args):
  """Returns the folder of logs, and each script with the call that submits it."""
  made = f'mkdir -p {steps.quoted(_logs(description, args))}'
  calls = _calls(description, args, lambda number: f'@job{number}@')
  lines = [f'job{number}=$({call}\n)' for number, call in enumerate(calls, 1)]
  return '\n'.join([made, *(re.sub(r'@job(\d+)@', r'$job\1', one) for one in lines)])


def launch(description, args):
  """Returns 0 once the job is submitted; with --wait its exit code."""
  try:
    found = slurm_limits.problems(description, args)
  except UserError as error:
    raise ConfigError(
      f'--where=slurm: no controller answers here; start this on a login node of the'
      f' cluster, or set SLURM_CONF. {error}'
    ) from error
  if found:
    raise ConfigError('\n'.join(found))
  logs = _logs(description, args)
  files.check_writable(logs)
  ids = []
  for call in _calls(description, args, lambda number: ids[number - 1]):
    try:
      # On federations the answer is JOB;CLUSTER.
      ids.append(steps.take(call).partition(';')[0])
    except UserError as error:
      raise ConfigError(f'--where=slurm: {error}{_withdrawn(ids)}') from error
  for number in ids:
    say(
      f'job {number} ({description.name}) is submitted; squeue --jobs={number} shows it'
    )
  say(f'its logs are in {logs}; scancel {" ".join(ids)} ends it for good')
  if not args.wait:
    return 0
  try:
    return slurm_jobs.wait(ids, say)
  except KeyboardInterrupt:
    say(f'not waiting any more; to end it: scancel {" ".join(ids)}')
    raise


def _calls(description, args, id_of):
  """Yields the calls of sbatch; `id_of(n)` is the job of the n-th, from 1."""
  logs = _logs(description, args)
  for tasks, needed in _arrays(description):
    words = ['sbatch', '--parsable']
    if needed:
      # After any end: a point that needs one that failed says so itself.
      words.append(_AFTER + ':'.join(id_of(number) for number in needed))
    text = slurm_script.script(description, args, logs, tasks)
    yield steps.Call(tuple(words), text)


def _arrays(description):
  """Returns [(tasks, numbers of the arrays that end before, from 1)], in order.

  No array has more elements than the cluster allows. Those of a wave run at once, or
  one after the other where `at_once` is a limit of all of them.
  """
  if not description.tasks:
    return [((), ())]
  size, found, before = max(1, slurm_limits.array_size()), [], ()
  for wave in description.waves():
    parts = [wave[start : start + size] for start in range(0, len(wave), size)]
    first = len(found) + 1
    for part in parts:
      found.append((part, before))
      if description.at_once:
        before = (len(found),)
    if not description.at_once:
      before = tuple(range(first, len(found) + 1))
  return found


def _withdrawn(ids):
  """Cancels the jobs `ids`; returns what to say of it."""
  if not ids:
    return ''
  steps.take(steps.Call(('scancel', *ids)))
  return f'\nWhat was submitted before it is cancelled: {" ".join(ids)}.'


def _logs(description, args):
  """Returns the folder of the logs, which all nodes have to see."""
  if args.log_dir:
    return str(files.as_folder(args.log_dir))
  workdir = description.workdir
  if workdir is None or is_remote(workdir):
    # SLURM writes to folders alone.
    return os.path.join(description.folder, 'slurm-logs', description.name)
  return str(files.as_folder(workdir) / 'logs')
