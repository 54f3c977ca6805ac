"""Several processes as one program: joining them, and sharing a batch's rows.

A process joins others only where there is evidence of them (`discovery.py`), and a join
that fails is an error: a pod whose hosts each train alone, in silence, is a costly
mistake.
"""

import jax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.parallel import discovery, rendezvous
from gpt_jax.parallel.evidence import ALONE

CONNECT_SECONDS = 60


def initialize(
  coordinator=None,
  num_processes=None,
  process_id=None,
  *,
  timeout_seconds=300.0,
  heartbeat_seconds=100,
):
  """Joins this process to its run; returns who says that it has one, or None.

  The arguments go before what `discovery.find` finds in the environment; `coordinator`
  is host:port of process 0. To be called before any device is touched. Raises UserError
  when evidence is incomplete or contradictory, or when processes are missing after
  `timeout_seconds`; that they are is said after a minute.
  """
  if jax.distributed.is_initialized():
    return 'jax.distributed, already running'
  evidence = discovery.find(coordinator, num_processes, process_id)
  if evidence is None:
    return None
  # Only matters where the CPU is the device: collectives between processes need it.
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  rendezvous.meet(evidence, timeout_seconds=timeout_seconds)
  address = evidence.coordinator
  host = address.rpartition(':')[0].strip('[]')
  # By default jax listens on every interface, without authentication.
  bind = address if rendezvous.is_loopback(host) else None
  try:
    jax.distributed.initialize(
      coordinator_address=address,
      coordinator_bind_address=bind,
      num_processes=evidence.num_processes,
      process_id=evidence.process_id,
      local_device_ids=evidence.local_devices,
      cluster_detection_method='deactivate',  # what it would find is found
      # They are there: what is left takes a moment.
      initialization_timeout=CONNECT_SECONDS,
      heartbeat_timeout_seconds=heartbeat_seconds,
    )
  except Exception as error:  # of many kinds, and none may pass in silence
    raise UserError(
      f'this process belongs to a run of several ({evidence}), but joining it failed:'
      f' {type(error).__name__}: {error}\nStart all processes with the same coordinator'
      f' address and check that it can be reached from here; {ALONE}.'
    ) from error
  return evidence.source


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
