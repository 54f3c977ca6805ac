"""Several processes as one program: joining them, and sharing a batch's rows.

A process joins others only where it finds evidence of them, and a join that fails is an
error: a pod whose hosts each train alone, in silence, is a costly mistake.
"""

import os
import socket
import time
from typing import Any, Literal

import jax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from gpt_jax.core.errors import ConfigError, UserError

VARIABLES = ('GPT_JAX_COORDINATOR', 'GPT_JAX_NUM_PROCESSES', 'GPT_JAX_PROCESS_ID')
ALONE = 'to run this process alone, set GPT_JAX_NUM_PROCESSES=1'


def initialize(
  coordinator=None,
  num_processes=None,
  process_id=None,
  *,
  timeout_seconds=300,
  heartbeat_seconds=100,
):
  """Joins this process to its run; returns the evidence for one, or None.

  Searched in this order: the arguments (`coordinator` is host:port of process 0), the
  variables in VARIABLES that our launchers set, then CLUSTERS. To be called before any
  device is touched. Raises UserError when evidence is incomplete or contradictory or
  process 0 is not reached in time; for any other process XLA ends this one.
  """
  if jax.distributed.is_initialized():
    return 'jax.distributed, already running'
  given = _given(coordinator, num_processes, process_id)
  if given == 'alone':
    return None
  evidence = VARIABLES[0] if given else _cluster()
  if evidence is None:
    return None
  # Only matters where the CPU is the device: collectives between processes need it.
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  arguments = given or dict[str, Any](cluster_detection_method=evidence)
  if evidence == 'slurm' and _is_alone_on_node():
    arguments['local_device_ids'] = []  # all of them; jax would take one per task
  try:
    if given:
      _reach(**given, timeout_seconds=timeout_seconds)
    jax.distributed.initialize(
      **arguments,
      initialization_timeout=timeout_seconds,
      heartbeat_timeout_seconds=heartbeat_seconds,
    )
  except Exception as error:  # of many kinds, and none may pass in silence
    found = f'{arguments}' if given else CLUSTERS[evidence][1]
    raise UserError(
      f'this process belongs to a run of several ({found}), but joining it failed:'
      f' {type(error).__name__}: {error}\nStart all processes with the same coordinator'
      f' address and check that it can be reached from here; {ALONE}.'
    ) from error
  return evidence


def process_index():
  """Returns which process of the run this is, from 0."""
  return jax.process_index()


def process_count():
  """Returns how many processes the run has."""
  return jax.process_count()


def is_primary():
  """Returns whether this process writes what only one may write."""
  return jax.process_index() == 0


def barrier(name):
  """Returns once every process of the run has reached the barrier `name`."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def local_rows(sharding, batch_size):
  """Returns the slice of a global batch's rows that this process has to load.

  Processes that share rows (tensor parallelism across hosts) get the same slice.
  Raises ConfigError when the rows of this process are not contiguous.
  """
  # Further dimensions only have to be divisible: any multiple of the devices will do.
  columns = [sharding.mesh.size] * (len(sharding.spec) - 1)
  indices = sharding.addressable_devices_indices_map((batch_size, *columns)).values()
  ranges = sorted({index[0].indices(batch_size)[:2] for index in indices})
  start, stop = ranges[0][0], ranges[-1][1]
  if sum(high - low for low, high in ranges) != stop - start:
    raise ConfigError(
      f'parallel.mesh: process {jax.process_index()} would have to load the rows'
      f' {ranges} of each batch, with gaps; put the devices of one process side by side'
      ' on the data axis.'
    )
  return slice(start, stop)


def global_batch(local_batch, sharding):
  """Returns a dict of global jax.Arrays from a dict of numpy arrays of `local_rows`.

  Arrays with fewer dimensions than `sharding` take its first ones. Every process calls
  this with rows of the same shape.
  """
  mine = local_rows(sharding, sharding.mesh.size)
  batch = {}
  for name, rows in local_batch.items():
    size = len(rows) * sharding.mesh.size // (mine.stop - mine.start)
    placed = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[: rows.ndim]))
    shape = (size, *rows.shape[1:])
    batch[name] = jax.make_array_from_process_local_data(placed, rows, shape)
  return batch


def _given(
  coordinator, num_processes, process_id
) -> dict[str, Any] | Literal['alone'] | None:
  """Returns jax.distributed's arguments where given, 'alone', or None."""
  given: dict[str, Any] = dict(
    zip(VARIABLES, (coordinator, num_processes, process_id), strict=True)
  )
  for variable, value in given.items():
    if value is None:
      given[variable] = os.environ.get(variable) or None
  for variable in VARIABLES[1:]:
    given[variable] = _integer(variable, given[variable])
  coordinator, count, index = given.values()
  if count == 1:
    return 'alone'
  missing = [variable for variable, value in given.items() if value is None]
  if len(missing) == len(VARIABLES):
    return None
  if missing:
    raise UserError(
      f'{missing} not given, but'
      f' { {v: given[v] for v in VARIABLES if given[v] is not None} } is; a process of'
      f' a run of several needs all three; {ALONE}.'
    )
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdecimal():
    raise UserError(
      f'{VARIABLES[0]}={coordinator!r}: expected host:port of process 0, such as'
      ' 10.0.0.1:8476.'
    )
  if not 0 <= index < count:
    raise UserError(
      f'{VARIABLES[2]}={index}: expected 0 to {count - 1}, as {VARIABLES[1]}={count}.'
    )
  # By default jax listens on every interface, without authentication.
  local = dict(coordinator_bind_address=coordinator) if _is_loopback(host) else {}
  return dict(
    coordinator_address=coordinator,
    num_processes=count,
    process_id=index,
    cluster_detection_method='deactivate',
    **local,
  )


def _reach(coordinator_address, process_id, *, timeout_seconds, **_):
  """Returns once the coordinator's port is free (process 0) or open (the others).

  Raises OSError otherwise, where XLA would end the process with a stack trace.
  """
  host, _, port = coordinator_address.rpartition(':')
  address = (host.strip('[]'), int(port))
  if process_id == 0:
    wildcard = '' if not _is_loopback(host) else address[0]
    socket.create_server((wildcard, address[1])).close()
    return
  deadline = time.monotonic() + timeout_seconds
  while True:
    try:
      socket.create_connection(address, timeout=5).close()
      return
    except OSError:
      if time.monotonic() > deadline:
        raise
      time.sleep(0.1)


def _integer(variable, value):
  try:
    return None if value is None else int(value)
  except ValueError:
    raise UserError(f'{variable}={value!r}: expected a whole number.') from None


def _is_loopback(host):
  return host in ('localhost', '[::1]') or host.startswith('127.')


def _cluster():
  return next((name for name, (is_here, _) in CLUSTERS.items() if is_here()), None)


def _in_slurm_step():
  # Set by srun, not by sbatch: the batch script itself is a single process.
  return 'SLURM_STEP_NODELIST' in os.environ and _counts_several('SLURM_NTASKS')


def _is_alone_on_node():
  return os.environ['SLURM_NTASKS'] == os.environ.get('SLURM_STEP_NUM_NODES')


def _in_open_mpi():
  return _counts_several('OMPI_COMM_WORLD_SIZE')


def _counts_several(variable):
  value = os.environ.get(variable, '')
  return value.isdecimal() and int(value) > 1


def _uses_tpu():
  # On a TPU VM with libtpu, importing jax sets this, unless the user chose otherwise.
  return (jax.config.values['jax_platforms'] or '').split(',')[0] == 'tpu'


def _in_gke_pod():
  hosts = os.environ.get('TPU_PROCESS_ADDRESSES') or os.environ.get(
    'TPU_WORKER_HOSTNAMES', ''
  )
  several = ',' in hosts or _counts_several('MEGASCALE_NUM_SLICES')
  return bool(hosts) and several and _uses_tpu()


def _on_tpu_vm():
  # jax asks the metadata server how many hosts there are. Where TPU_WORKER_HOSTNAMES is
  # set (GKE), that answers it already.
  hosts = ('TPU_PROCESS_ADDRESSES', 'TPU_WORKER_HOSTNAMES', 'TPU_SKIP_MDS_QUERY')
  return _uses_tpu() and not any(variable in os.environ for variable in hosts)


CLUSTERS = {
  'slurm': (_in_slurm_step, 'SLURM_NTASKS and SLURM_STEP_NODELIST are set by srun'),
  'ompi': (_in_open_mpi, 'OMPI_COMM_WORLD_SIZE is set by mpirun'),
  'gketpu': (_in_gke_pod, 'TPU_WORKER_HOSTNAMES or MEGASCALE_NUM_SLICES is set by GKE'),
  'gcetpu': (_on_tpu_vm, 'this is a Cloud TPU VM'),
}
