"""mpirun and mpiexec: where process 0 of their runs listens."""

import pytest

from gpt_jax.parallel import mpi

RANK = dict(
  OMPI_COMM_WORLD_SIZE='2', OMPI_COMM_WORLD_RANK='0', OMPI_COMM_WORLD_LOCAL_SIZE='1'
)


@pytest.mark.parametrize(
  ('environ', 'coordinator'),
  [
    (dict(MASTER_ADDR='n1', MASTER_PORT='29500'), 'n1:29500'),
    (dict(JAX_COORDINATOR_ADDRESS='n1:1', MASTER_ADDR='n2', MASTER_PORT='2'), 'n1:1'),
    (
      dict(OMPI_MCA_orte_hnp_uri='4096.0;tcp6://[fe80::b9b,2620:10d::2]:43370'),
      '[fe80::b9b]:61441',
    ),
    (
      dict(
        OMPI_MCA_orte_hnp_uri='4096.0;tcp://10.0.0.1:3', JAX_COORDINATOR_PORT='1234'
      ),
      '10.0.0.1:1234',
    ),
    (dict(PMIX_NAMESPACE='prterun-a-b.c-4097@1'), 'a-b.c:61441'),
  ],
)
def test_the_address_of_process_0_is_given_or_that_of_mpirun(environ, coordinator):
  assert mpi.find_open_mpi(RANK | environ).coordinator == coordinator


def test_all_variables_of_pmi_are_read():
  environ = dict(
    PMI_SIZE='2', PMI_RANK='1', MPI_LOCALNRANKS='2', MPI_LOCALRANKID='1',
    MASTER_ADDR='127.0.0.1', MASTER_PORT='5',
  )  # fmt: skip
  found = mpi.find_pmi(environ)
  assert (found.process_id, found.local_devices) == (1, (1,))
  assert found.variables == environ
