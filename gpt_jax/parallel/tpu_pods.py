"""Hosts of TPU slices: variables of GKE's pods, the metadata of Cloud TPU VMs."""

import re
import urllib.error
import urllib.request

import jax

from gpt_jax.core.errors import UserError
from gpt_jax.parallel.evidence import ALONE, Evidence, Variables

GKE, GCE = 'gketpu', 'gcetpu'
PORT = '8482'  # as in jax
WORKERS = ('TPU_PROCESS_ADDRESSES', 'TPU_WORKER_HOSTNAMES')
SLICES = 'MEGASCALE_NUM_SLICES'
METADATA_SECONDS = 5


def uses_tpu():
  """Returns whether this process is about to run on TPUs."""
  # On a TPU VM with libtpu, importing jax sets this, unless the user chose otherwise.
  return (jax.config.values['jax_platforms'] or '').split(',')[0] == 'tpu'


def find_in_pod(environ):
  """Returns the Evidence of a GKE pod of a slice, a reason for none, or None."""
  listed = next((name for name in WORKERS if environ.get(name)), None)
  if listed is None:
    return None
  variables = Variables(GKE, environ)
  workers = [_host(worker) for worker in environ[listed].split(',')]
  if len(workers) == 1 and not variables.counts_several(SLICES):
    return f'{listed}={environ[listed]}: a slice of one host'
  if not uses_tpu():
    return f'{listed} names {len(workers)} hosts, but jax does not use TPUs here'
  variables.require(listed, 'TPU_WORKER_ID')
  return _evidence(GKE, variables, workers, variables.number('TPU_WORKER_ID'))


def find_on_vm(environ):
  """Returns the Evidence of a Cloud TPU VM, a reason for none, or None.

  Raises UserError when the metadata server, which knows, does not answer.
  """
  if any(name in environ for name in (*WORKERS, 'TPU_SKIP_MDS_QUERY')):
    return None  # jax sets the latter where there are no TPU chips
  if not uses_tpu():
    return None
  index = _metadata('agent-worker-number', environ)
  if index is None:
    return 'the metadata server knows of no TPU slice (agent-worker-number)'
  endpoints = _metadata('worker-network-endpoints', environ) or ''
  # Either names, or name:id:address of each.
  workers = [worker.split(':')[-1] for worker in endpoints.split(',')]
  lines = _metadata('tpu-env', environ) or ''
  settings = dict(re.findall(r"(?m)^(\w+)\s*:\s*'?([^'\n]*)", lines))
  variables = Variables(GCE, settings | environ)
  if len(workers) == 1 and not variables.counts_several(SLICES):
    return f'worker-network-endpoints={endpoints}: a slice of one host'
  variables.read = {'agent-worker-number': index, 'worker-network-endpoints': endpoints}
  return _evidence(GCE, variables, workers, int(index))


def _evidence(source, variables, workers, index):
  variables.require_index(index, len(workers))
  slices = variables.number(SLICES, 1)
  if slices > 1:
    variables.require('MEGASCALE_COORDINATOR_ADDRESS', 'MEGASCALE_SLICE_ID')
  mine = variables.number('MEGASCALE_SLICE_ID', 0)
  variables.require_index(mine, slices)
  first = variables.get('MEGASCALE_COORDINATOR_ADDRESS')
  hosts = tuple(
    worker if number == mine else f'worker {position} of slice {number}'
    for number in range(slices)
    for position, worker in enumerate(workers)
  )
  port = variables.get('JAX_COORDINATOR_PORT') or PORT
  address = f'{_host(first or workers[0])}:{port}'
  return Evidence(
    source,
    variables.read,
    variables.get('JAX_COORDINATOR_ADDRESS') or address,
    slices * len(workers),
    index + mine * len(workers),
    hosts,
  )


def _host(address):
  """Returns the host of `host:port`, or all of an address without a port."""
  return address.strip().split(':')[0]


def _metadata(key, environ):
  """Returns an attribute of this virtual machine, or None where it has none."""
  server = environ.get('GCE_METADATA_IP', 'metadata.google.internal')
  request = urllib.request.Request(
    f'http://{server}/computeMetadata/v1/instance/attributes/{key}',
    headers={'Metadata-Flavor': 'Google'},
  )
  # Never through a proxy: the server is the machine's own.
  opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
  try:
    with opener.open(request, timeout=METADATA_SECONDS) as reply:
      return reply.read().decode()
  except urllib.error.HTTPError as error:
    if error.code == 404:
      return None
    reason = str(error)
  except OSError as error:
    reason = str(getattr(error, 'reason', error))
  raise UserError(
    f'{GCE}: jax uses TPUs here, but {server} does not say how many hosts they have'
    f' ({reason}); give --coordinator, --num_processes and --process_id, or, {ALONE}.'
  )
