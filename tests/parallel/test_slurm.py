"""Job steps of SLURM: host lists, and which task runs where."""

import pytest

from gpt_jax.parallel import slurm

STEP = dict(SLURM_JOB_ID='1', SLURM_PROCID='0')


@pytest.mark.parametrize(
  ('nodelist', 'names'),
  [
    ('n1', ['n1']),
    ('n1,gpu-a', ['n1', 'gpu-a']),
    ('n[1-3]', ['n1', 'n2', 'n3']),
    ('n[001,007-009],x', ['n001', 'n007', 'n008', 'n009', 'x']),
    ('r[1-2]n[09-10]-ib', ['r1n09-ib', 'r1n10-ib', 'r2n09-ib', 'r2n10-ib']),
  ],
)
def test_a_host_list_names_its_nodes(nodelist, names):
  assert slurm.expand(nodelist) == names


@pytest.mark.parametrize(
  ('tasks', 'distribution', 'hosts'),
  [
    ('2,1', 'block', ('n1', 'n1', 'n2')),
    ('2,1', 'cyclic', ('n1', 'n2', 'n1')),
    ('2,1', None, ('n1', 'n1', 'n2')),
    ('2,1', 'arbitrary', ()),
    ('', None, ()),
  ],
)
def test_tasks_lie_on_the_nodes_that_srun_chose(tasks, distribution, hosts):
  environ = STEP | dict(
    SLURM_STEP_NODELIST='n[1-2]',
    SLURM_STEP_NUM_TASKS='3',
    SLURM_STEP_TASKS_PER_NODE=tasks,
  )
  if distribution:
    environ['SLURM_DISTRIBUTION'] = distribution
  assert slurm.find(environ).hosts == hosts


def test_each_step_of_a_job_has_a_port_of_its_own():
  environ = STEP | dict(SLURM_STEP_NODELIST='n[1-2]', SLURM_NTASKS='2')
  ports = {
    slurm.find(environ | dict(SLURM_STEP_ID=str(i))).coordinator for i in range(9)
  }
  assert len(ports) == 9
  chosen = slurm.find(environ | dict(JAX_COORDINATOR_PORT='1234'))
  assert chosen.coordinator == 'n1:1234'
