"""Processes that `srun` started: which tasks run on which nodes."""

import itertools
import re

from gpt_jax.parallel.evidence import Evidence, Variables, local_devices

SOURCE = 'slurm'
PORTS = 1 << 12
"""The last ones below 65536, of which a job gets one by its number, as in jax."""
GPUS_ARE_DIVIDED = ('SLURM_GPUS_PER_TASK', 'SLURM_NTASKS_PER_GPU')


def find(environ):
  """Returns the Evidence of a job step of several tasks, a reason for none, or None.

  `sbatch` and `salloc` start a single process, whatever SLURM_NTASKS says there: only
  `srun` sets SLURM_STEP_NODELIST.
  """
  if 'SLURM_JOB_ID' not in environ and 'SLURM_STEP_NODELIST' not in environ:
    return None
  if 'SLURM_STEP_NODELIST' not in environ:
    return 'SLURM_JOB_ID is set, but SLURM_STEP_NODELIST is not: not started by srun'
  variables = Variables(SOURCE, environ)
  # In a shell of salloc, SLURM_NTASKS is that of the whole job.
  has_step = 'SLURM_STEP_NUM_TASKS' in environ
  total = 'SLURM_STEP_NUM_TASKS' if has_step else 'SLURM_NTASKS'
  if not variables.counts_several(total):
    return f'{total}={environ.get(total, "")}: a job step of one task'
  variables.require('SLURM_STEP_NODELIST', total, 'SLURM_PROCID', 'SLURM_JOB_ID')
  count, index = variables.number(total), variables.number('SLURM_PROCID')
  variables.require_index(index, count)
  nodes = expand(environ['SLURM_STEP_NODELIST'])
  hosts = _hosts(nodes, environ, count)
  here = environ.get('SLURMD_NODENAME') or (hosts[index] if hosts else None)
  neighbours = [i for i, host in enumerate(hosts) if host == here] or [index]
  return Evidence(
    SOURCE,
    variables.read,
    variables.get('JAX_COORDINATOR_ADDRESS') or f'{nodes[0]}:{_port(variables)}',
    count,
    index,
    hosts,
    _devices(variables, environ, len(neighbours)),
  )


def expand(nodelist):
  """Returns the names of a SLURM host list: 'n[1-2,07],gpu3' -> n1, n2, n07, gpu3."""
  names = []
  for pattern in re.findall(r'(?:[^,\[]|\[[^\]]*\])+', nodelist):
    parts = re.split(r'\[([^\]]*)\]', pattern)
    choices = [
      _numbers(part) if is_range else [part]
      for part, is_range in zip(parts, itertools.cycle((False, True)), strict=False)
    ]
    names += [''.join(choice) for choice in itertools.product(*choices)]
  return names


def _numbers(ranges):
  """Returns the numbers of '1-3,07' as texts, which keep their leading zeros."""
  numbers = []
  for part in ranges.split(','):
    first, _, last = part.partition('-')
    width = len(first)
    numbers += [f'{i:0{width}}' for i in range(int(first), int(last or first) + 1)]
  return numbers


def _hosts(nodes, environ, count):
  """Returns the node of each task, or () where the distribution is unknown."""
  if len(nodes) == 1 or len(nodes) == count:
    return tuple(nodes * (count // len(nodes)))
  text = environ.get('SLURM_STEP_TASKS_PER_NODE', '')
  sizes = []
  for size, times in re.findall(r'(\d+)(?:\(x(\d+)\))?', text):
    sizes += [int(size)] * int(times or 1)
  if len(sizes) != len(nodes) or sum(sizes) != count:
    return ()
  pairs = list(zip(nodes, sizes, strict=True))
  distribution = environ.get('SLURM_DISTRIBUTION', 'block')
  if distribution.startswith('block'):
    return tuple(node for node, size in pairs for _ in range(size))
  if distribution.startswith('cyclic'):
    turns = range(max(sizes))
    return tuple(node for turn in turns for node, size in pairs if turn < size)
  return ()


def _port(variables):
  if given := variables.get('JAX_COORDINATOR_PORT'):
    return given
  # Steps of one job may run at once, so each gets a port of its own; step 0 gets jax's.
  step = variables.get('SLURM_STEP_ID') or '0'
  number = variables.number('SLURM_JOB_ID')
  number += 257 * int(step if step.isdecimal() else 0)
  return 65536 - PORTS + number % PORTS


def _devices(variables, environ, neighbours):
  if any(environ.get(name) for name in GPUS_ARE_DIVIDED):
    return None
  return local_devices(variables.number('SLURM_LOCALID', 0), neighbours, environ)
