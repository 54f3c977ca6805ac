"""Processes that an mpirun or mpiexec started: Open MPI, MPICH and what speaks PMI."""

import re

from gpt_jax.core.errors import UserError
from gpt_jax.parallel.evidence import (
  ALONE,
  Evidence,
  Variables,
  host_port,
  local_devices,
)

OPEN_MPI, PMI = 'ompi', 'pmi'
PORTS = 1 << 12  # the last ones below 65536, as in jax
OPEN_MPI_VARIABLES = (
  'OMPI_COMM_WORLD_SIZE',
  'OMPI_COMM_WORLD_RANK',
  'OMPI_COMM_WORLD_LOCAL_SIZE',
  'OMPI_COMM_WORLD_LOCAL_RANK',
)
PMI_VARIABLES = ('PMI_SIZE', 'PMI_RANK', 'MPI_LOCALNRANKS', 'MPI_LOCALRANKID')


def find_open_mpi(environ):
  """Returns the Evidence of Open MPI's mpirun, a reason for none, or None."""
  return _find(OPEN_MPI, OPEN_MPI_VARIABLES, environ)


def find_pmi(environ):
  """Returns the Evidence of MPICH's or Intel's mpiexec, a reason for none, or None."""
  return _find(PMI, PMI_VARIABLES, environ)


def _find(source, names, environ):
  size, rank, local_size, local_rank = names
  if size not in environ:
    return None
  variables = Variables(source, environ)
  if not variables.counts_several(size):
    return f'{size}={environ[size]}: one process'
  variables.require(size, rank)
  count, index = variables.number(size), variables.number(rank)
  variables.require_index(index, count)
  neighbours = variables.number(local_size, 1)
  return Evidence(
    source,
    variables.read,
    _coordinator(source, variables, is_one_host=neighbours == count),
    count,
    index,
    local_devices=local_devices(variables.number(local_rank, 0), neighbours, environ),
  )


def _coordinator(source, variables, is_one_host):
  """Returns host:port of process 0: what was given, or mpirun's own host.

  mpirun places process 0 where it runs itself, unless a list of hosts says otherwise.
  """
  if address := variables.get('JAX_COORDINATOR_ADDRESS'):
    return address
  if (host := variables.get('MASTER_ADDR')) and (port := variables.get('MASTER_PORT')):
    return host_port(host, port)
  # Open MPI 4: 1531576320.0;tcp://10.96.0.1,10.148.0.1:34911, with the job's number.
  uri = variables.get('OMPI_MCA_orte_hnp_uri') or ''
  namespace = variables.get('PMIX_NAMESPACE') or ''
  if found := re.match(r'(\d+)\..*?(?:tcp://([^,:]+)|tcp6://\[([^,\]]+))', uri):
    host = found[2] or f'[{found[3]}]'
    number = int(found[1]) // PORTS  # its low bits are 0
  # Open MPI 5: prterun-HOST-PID@JOB.
  elif found := re.match(r'prte(?:run)?-(.+)-(\d+)@', namespace):
    host, number = found[1], int(found[2])
  else:
    raise UserError(
      f'{source}: {variables} says that'
      ' this process belongs to a run of several, and nothing says where process 0 is;'
      ' give all of them JAX_COORDINATOR_ADDRESS=HOST:PORT, a free port of the host of'
      ' rank 0 (MPICH: mpiexec -genv NAME VALUE; Open MPI: mpirun -x NAME=VALUE), or,'
      f' {ALONE}.'
    )
  host = '127.0.0.1' if is_one_host else host
  port = variables.get('JAX_COORDINATOR_PORT') or 65536 - PORTS + number % PORTS
  return f'{host}:{port}'
