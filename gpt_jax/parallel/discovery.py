"""Finds out whether this process is one of several, from evidence alone.

Nothing is guessed: without evidence a process is alone, and incomplete evidence is an
error, since a pod whose hosts each train alone, in silence, is a costly mistake.
"""

import os

from gpt_jax.core.errors import UserError
from gpt_jax.parallel import mpi, slurm, tpu_pods
from gpt_jax.parallel.evidence import ALONE, Evidence, Variables, host_port
from gpt_jax.parallel.evidence import local_devices as devices_of

VARIABLES = ('GPT_JAX_COORDINATOR', 'GPT_JAX_NUM_PROCESSES', 'GPT_JAX_PROCESS_ID')
JAX_VARIABLES = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
JOBSET_PORT = tpu_pods.PORT


def find(coordinator=None, num_processes=None, process_id=None, environ=None):
  """Returns the Evidence of a run of several processes, or None.

  Searched in this order: the arguments, the variables in VARIABLES, which our launchers
  set, then SOURCES. Raises UserError when evidence is incomplete or contradictory.
  """
  return look(coordinator, num_processes, process_id, environ)[0]


def look(coordinator=None, num_processes=None, process_id=None, environ=None):
  """Returns (Evidence or None, {source: why it says nothing}); see `find`."""
  environ = dict(os.environ if environ is None else environ)
  given = (coordinator, num_processes, process_id)
  environ |= {
    variable: str(value)
    for variable, value in zip(VARIABLES, given, strict=True)
    if value is not None
  }
  reasons = {}
  if environ.get(VARIABLES[1]) == '1':
    return None, {VARIABLES[1]: f'{VARIABLES[1]}=1: this process was told to be alone'}
  for source, find_in in SOURCES.items():
    found = find_in(environ)
    if isinstance(found, Evidence):
      _require_address(found)
      return found, reasons
    if found:
      reasons[source] = found
  return None, reasons


def _given(environ):
  """Returns the Evidence of our own variables; incomplete ones are an error."""
  given = [name for name in VARIABLES if environ.get(name)]
  if not given:
    return None
  if missing := [name for name in VARIABLES if name not in given]:
    raise UserError(
      f'{", ".join(f"{name}={environ[name]}" for name in given)} without'
      f' {" and ".join(missing)}: a process of a run of several is given all three,'
      f' as variables or by --coordinator, --num_processes, --process_id; {ALONE}.'
    )
  return _three(VARIABLES[0], VARIABLES, environ)


def _jax_variables(environ):
  # The address alone is no evidence: it overrides the address of other sources.
  if not environ.get(JAX_VARIABLES[1]):
    return None
  if not Variables('jax', environ).counts_several(JAX_VARIABLES[1]):
    return f'{JAX_VARIABLES[1]}={environ[JAX_VARIABLES[1]]}: one process'
  return _three('jax', JAX_VARIABLES, environ)


def _three(source, names, environ):
  """Returns the Evidence of three variables: address of process 0, count, index."""
  variables = Variables(source, environ)
  variables.require(*names)
  address, count, index = names
  total, mine = variables.number(count), variables.number(index)
  if total < 1:
    raise UserError(f'{count}={total}: expected 1 or more.')
  if not 0 <= mine < total:
    raise UserError(f'{index}={mine}: expected 0 to {total - 1}, as {count}={total}.')
  return Evidence(source, variables.read, environ[address], total, mine)


def _require_address(found):
  address = found.coordinator
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal() or not 0 < int(port) < 65536:
    said = (name for name, value in found.variables.items() if value == address)
    raise UserError(
      f'{next(said, found.source)}={address!r}: expected host:port of process 0, such'
      ' as 10.0.0.1:8476.'
    )


def _torchrun(environ):
  if 'TORCHELASTIC_RUN_ID' not in environ:
    return None
  return _torch('torchrun', environ)


def _torch_variables(environ):
  if not environ.get('WORLD_SIZE'):
    return None
  return _torch('WORLD_SIZE', environ)


def _torch(source, environ):
  """Returns the Evidence of torchrun's variables, which other launchers set too."""
  variables = Variables(source, environ)
  if not variables.counts_several('WORLD_SIZE'):
    return f'WORLD_SIZE={environ.get("WORLD_SIZE", "")}: one process'
  variables.require('WORLD_SIZE', 'RANK', 'MASTER_ADDR', 'MASTER_PORT')
  count, index = variables.number('WORLD_SIZE'), variables.number('RANK')
  variables.require_index(index, count)
  port = variables.number('MASTER_PORT')
  if variables.get('TORCHELASTIC_USE_AGENT_STORE') == 'True':
    port += 1  # torchrun itself listens on the port that it names
  neighbours = variables.number('LOCAL_WORLD_SIZE', 1)
  return Evidence(
    source,
    variables.read,
    variables.get('JAX_COORDINATOR_ADDRESS') or host_port(environ['MASTER_ADDR'], port),
    count,
    index,
    local_devices=devices_of(variables.number('LOCAL_RANK', 0), neighbours, environ),
  )


def _jobset(environ):
  """Returns the Evidence of a pod of a JobSet, by variables that its manifest sets.

  Kubernetes sets JOB_COMPLETION_INDEX; the others have the names that xpk gave them.
  """
  if 'JOB_COMPLETION_INDEX' not in environ:
    return None
  variables = Variables('jobset', environ)
  if not variables.counts_several('JAX_PROCESS_COUNT'):
    return 'JOB_COMPLETION_INDEX is set, but no JAX_PROCESS_COUNT above 1'
  variables.require('JAX_PROCESS_COUNT', 'JAX_COORDINATOR_ADDRESS')
  count = variables.number('JAX_PROCESS_COUNT')
  job = variables.number('JOB_INDEX', 0)
  # A first job without a size may be the only one.
  size = variables.number('PROCESSES_IN_JOB', count if job == 0 else None)
  index = job * size + variables.number('JOB_COMPLETION_INDEX')
  variables.require_index(index, count)
  address = environ['JAX_COORDINATOR_ADDRESS']
  if ':' not in address:
    address += f':{JOBSET_PORT}'
  return Evidence(
    'jobset', variables.read, address, count, index, _pods(variables, count, size)
  )


def _pods(variables, count, size):
  """Returns the names of a JobSet's pods, as its DNS has them."""
  jobset, job = variables.get('JOBSET_NAME'), variables.get('REPLICATED_JOB_NAME')
  if not (jobset and job):
    return ()
  return tuple(f'{jobset}-{job}-{i // size}-{i % size}' for i in range(count))


SOURCES = {
  'GPT_JAX_COORDINATOR': _given,
  # The innermost launcher comes first: it may have been started by one further down.
  'torchrun': _torchrun,
  'ompi': mpi.find_open_mpi,
  'slurm': slurm.find,
  'pmi': mpi.find_pmi,
  'jobset': _jobset,
  'jax': _jax_variables,
  'WORLD_SIZE': _torch_variables,
  'gketpu': tpu_pods.find_in_pod,
  'gcetpu': tpu_pods.find_on_vm,
}
"""Functions of the environment: Evidence, why there is none, or None for no trace."""
