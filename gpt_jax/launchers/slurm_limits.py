"""What a cluster has and allows: partitions, nodes, sizes of arrays, jobs of a user.

Told before anything is submitted; what only sbatch knows it says itself.
"""

import getpass
import re

from gpt_jax.core.errors import UserError
from gpt_jax.core.registry import nearest
from gpt_jax.launchers.slurm_jobs import call

DEFAULT_ARRAY = 1001
"""SLURM's own MaxArraySize, where no controller says another."""


def problems(description, args):
  """Returns what the cluster has against a Description, a list of lines.

  UserError where no controller answers.
  """
  found = partition_problems(args.partition, description.nodes)
  if count := len(description.tasks):
    if array_size() < 1:
      found.append(
        f'{count} tasks: this cluster has no arrays (MaxArraySize=0 in slurm.conf);'
        ' start them in one job: gpt-jax launch --where=slurm -- sweep FILE.'
      )
    for name, limit in _job_limits(args.account).items():
      if count > limit:
        found.append(
          f'{count} tasks: {name}={limit} is what may be in the queue; start a part of'
          ' them now (of a sweep: --only=NAME) and the same command for the others'
          ' later.'
        )
  return found


def partition_problems(partition, nodes):
  """Returns a line where no partition is called so, or it has too few nodes.

  `partition`: None for the default one.
  """
  listed = call('sinfo', '--noheader', '--format=%R|%D|%P')
  sizes, default = {}, None
  for line in listed.splitlines():
    name, size, marked = line.split('|')
    sizes[name] = sizes.get(name, 0) + int(size)
    default = name if marked.endswith('*') else default
  chosen = partition or default
  if chosen not in sizes:
    hint = nearest(partition, sizes) if partition else None
    return [
      f'--partition={partition or ""}: expected one of {", ".join(sizes) or "none"}'
      + (f'; did you mean {hint!r}?' if hint else '.')
    ]
  if nodes > sizes[chosen]:
    return [f'--nodes={nodes}: the partition {chosen} has {sizes[chosen]} nodes.']
  return []


def array_size():
  """Returns how many elements an array may have."""
  return _config('MaxArraySize', DEFAULT_ARRAY)


def _job_limits(account):
  """Returns {limit: number of jobs}; an element of an array counts as one."""
  limits = {'MaxJobCount of slurm.conf': _config('MaxJobCount', None)}
  limits['MaxSubmitJobs of this user'] = _max_submit(account)
  return {name: number for name, number in limits.items() if number is not None}


def _config(name, default):
  """Returns a number of slurm.conf, `default` where no controller says it."""
  try:
    text = call('scontrol', 'show', 'config')
  except (UserError, OSError):
    return default
  found = re.search(rf'(?m)^{name}\s*=\s*(\d+)', text)
  return int(found[1]) if found else default


def _max_submit(account):
  """Returns the MaxSubmitJobs of this user's associations, None without a limit."""
  words = [
    '--noheader',
    '--parsable2',
    'show',
    'associations',
    'format=User,MaxSubmitJobs',
  ]
  words.append(f'user={getpass.getuser()}')
  try:
    listed = call('sacctmgr', *words, *([f'account={account}'] if account else []))
  except (UserError, OSError):  # a cluster without accounts
    return None
  limits = [line.partition('|')[2] for line in listed.splitlines()]
  if not limits or not all(limit.isdecimal() for limit in limits):
    return None  # one of them has no limit of its own
  return max(map(int, limits))
