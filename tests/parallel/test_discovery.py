"""Environments of launchers: which process of how many this is, and who says so."""

import pathlib

import pytest
from jax._src.clusters import ompi_cluster, slurm_cluster

from gpt_jax.core.errors import UserError
from gpt_jax.parallel import discovery, tpu_pods

SLURM = dict(
  SLURM_JOB_ID='70001',
  SLURM_STEP_ID='0',
  SLURM_STEP_NODELIST='n[1-2]',
  SLURM_STEP_NUM_NODES='2',
  SLURM_STEP_TASKS_PER_NODE='2(x2)',
  SLURM_NTASKS='4',
  SLURM_STEP_NUM_TASKS='4',
  SLURM_PROCID='3',
  SLURM_LOCALID='1',
  SLURM_NODEID='1',
)
OPEN_MPI = dict(
  OMPI_MCA_orte_hnp_uri='1531576320.0;tcp://10.96.0.1,10.148.0.1:34911',
  OMPI_COMM_WORLD_SIZE='4',
  OMPI_COMM_WORLD_RANK='2',
  OMPI_COMM_WORLD_LOCAL_SIZE='2',
  OMPI_COMM_WORLD_LOCAL_RANK='0',
)
OURS = dict(GPT_JAX_COORDINATOR='h:1', GPT_JAX_PROCESS_ID='0')
TORCH = dict(WORLD_SIZE='4', RANK='2', MASTER_ADDR='n1', MASTER_PORT='29500')
JOBSET = dict(
  JOBSET_NAME='gpt',
  REPLICATED_JOB_NAME='workers',
  JAX_COORDINATOR_ADDRESS='gpt-workers-0-0.gpt',
  JAX_PROCESS_COUNT='4',
  PROCESSES_IN_JOB='2',
  JOB_INDEX='1',
  JOB_COMPLETION_INDEX='0',
)
ENVIRONMENTS = {
  'flags of our own': (
    dict(
      GPT_JAX_COORDINATOR='10.0.0.1:1234',
      GPT_JAX_NUM_PROCESSES='4',
      GPT_JAX_PROCESS_ID='2',
    ),
    ('GPT_JAX_COORDINATOR', '10.0.0.1:1234', 4, 2, None),
  ),
  'srun': (SLURM, ('slurm', 'n1:61809', 4, 3, (1,))),
  'srun, second step': (
    SLURM | dict(SLURM_STEP_ID='1'),
    ('slurm', 'n1:62066', 4, 3, (1,)),
  ),
  'srun, a task a node': (
    SLURM | dict(SLURM_STEP_NODELIST='n[1-4]', SLURM_STEP_NUM_NODES='4'),
    ('slurm', 'n1:61809', 4, 3, None),
  ),
  'srun --gpus-per-task': (
    SLURM | dict(SLURM_GPUS_PER_TASK='1', CUDA_VISIBLE_DEVICES='0'),
    ('slurm', 'n1:61809', 4, 3, None),
  ),
  'mpirun of Open MPI 4': (OPEN_MPI, ('ompi', '10.96.0.1:62624', 4, 2, (0,))),
  'mpirun on one host': (
    OPEN_MPI | dict(OMPI_COMM_WORLD_LOCAL_SIZE='4', OMPI_COMM_WORLD_LOCAL_RANK='2'),
    ('ompi', '127.0.0.1:62624', 4, 2, (2,)),
  ),
  'mpirun, a process a host': (
    OPEN_MPI | dict(OMPI_COMM_WORLD_LOCAL_SIZE='1'),
    ('ompi', '10.96.0.1:62624', 4, 2, None),
  ),
  'mpirun of Open MPI 5': (
    {name: value for name, value in OPEN_MPI.items() if 'orte' not in name}
    | dict(PMIX_NAMESPACE='prterun-gpu-18-12345@1'),
    ('ompi', f'gpu-18:{61440 + 12345 % 4096}', 4, 2, (0,)),
  ),
  'mpirun within a SLURM step': (
    SLURM | OPEN_MPI,
    ('ompi', '10.96.0.1:62624', 4, 2, (0,)),
  ),
  'mpiexec of MPICH': (
    dict(PMI_SIZE='2', PMI_RANK='1', JAX_COORDINATOR_ADDRESS='n1:1234'),
    ('pmi', 'n1:1234', 2, 1, None),
  ),
  'srun --mpi=pmi2': (
    SLURM | dict(PMI_SIZE='4', PMI_RANK='3'),
    ('slurm', 'n1:61809', 4, 3, (1,)),
  ),
  'variables of torchrun, set by hand': (
    TORCH,
    ('WORLD_SIZE', 'n1:29500', 4, 2, None),
  ),
  'a host by its IPv6 address': (
    TORCH | dict(MASTER_ADDR='fd00::7'),
    ('WORLD_SIZE', '[fd00::7]:29500', 4, 2, None),
  ),
  'torchrun itself, started by srun': (
    SLURM
    | TORCH
    | dict(
      TORCHELASTIC_RUN_ID='none',
      TORCHELASTIC_USE_AGENT_STORE='True',
      LOCAL_WORLD_SIZE='2',
      LOCAL_RANK='0',
    ),
    ('torchrun', 'n1:29501', 4, 2, (0,)),
  ),
  'a JobSet': (JOBSET, ('jobset', 'gpt-workers-0-0.gpt:8482', 4, 2, None)),
  'variables of jax': (
    dict(JAX_COORDINATOR_ADDRESS='n1:1234', JAX_NUM_PROCESSES='2', JAX_PROCESS_ID='1'),
    ('jax', 'n1:1234', 2, 1, None),
  ),
}


@pytest.mark.parametrize('name', ENVIRONMENTS)
def test_each_launcher_is_found_by_its_variables(name):
  environ, expected = ENVIRONMENTS[name]
  found = discovery.find(environ=environ)
  assert expected == (
    found.source,
    found.coordinator,
    found.num_processes,
    found.process_id,
    found.local_devices,
  )
  assert found.variables.items() <= environ.items() and found.variables
  assert len(found.hosts) in (0, found.num_processes)


@pytest.mark.parametrize(
  ('environ', 'cluster'),
  [
    (SLURM, slurm_cluster.SlurmCluster),
    (SLURM | dict(SLURM_STEP_NODELIST='gpu[007-008],x1'), slurm_cluster.SlurmCluster),
    (OPEN_MPI, ompi_cluster.OmpiCluster),
  ],
)
def test_what_jax_finds_itself_is_the_same(monkeypatch, environ, cluster):
  for name, value in environ.items():
    monkeypatch.setenv(name, value)
  found = discovery.find(environ=environ)
  assert found.coordinator == cluster.get_coordinator_address(None, None)
  assert found.num_processes == cluster.get_process_count()
  assert found.process_id == cluster.get_process_id()


@pytest.mark.parametrize(
  ('environ', 'reason'),
  [
    ({}, ''),
    (dict(SLURM_JOB_ID='7', SLURM_NTASKS='4'), 'not started by srun'),
    (SLURM | dict(SLURM_STEP_NUM_TASKS='1'), 'SLURM_STEP_NUM_TASKS=1'),
    (OPEN_MPI | dict(GPT_JAX_NUM_PROCESSES='1'), 'told to be alone'),
    (dict(OMPI_COMM_WORLD_SIZE='1', OMPI_COMM_WORLD_RANK='0'), 'one process'),
    (dict(MASTER_ADDR='n1', MASTER_PORT='29500', RANK='1'), ''),
    (dict(JAX_COORDINATOR_ADDRESS='n1:1234'), ''),
    (dict(TPU_WORKER_HOSTNAMES='a,b', TPU_WORKER_ID='0'), 'jax does not use TPUs here'),
    (dict(JOB_COMPLETION_INDEX='3'), 'JAX_PROCESS_COUNT'),
  ],
)
def test_without_evidence_a_process_is_alone_and_says_why(environ, reason):
  found, reasons = discovery.look(environ=environ)
  assert found is None
  assert reason in ' '.join(reasons.values()) and bool(reasons) == bool(reason)


def without(environ, name):
  return {key: value for key, value in environ.items() if key != name}


@pytest.mark.parametrize(
  ('environ', 'message'),
  [
    (dict(GPT_JAX_PROCESS_ID='0'), '_ID=0 without .*COORDINATOR and .*NUM_PROC.*given'),
    (dict(GPT_JAX_NUM_PROCESSES='0') | OURS, 'NUM_PROCESSES=0: expected 1 or more'),
    (TORCH | dict(WORLD_SIZE='four'), "WORLD_SIZE='four': expected a whole number"),
    (SLURM | dict(SLURM_LOCALID='x'), "SLURM_LOCALID='x': expected a whole number"),
    (
      without(JOBSET, 'JAX_COORDINATOR_ADDRESS'),
      'jobset: JAX_PROCESS_COUNT=4 says .* JAX_COORDINATOR_ADDRESS is not set',
    ),
    (without(SLURM, 'SLURM_PROCID'), 'slurm: .*but SLURM_PROCID is not set'),
    (SLURM | dict(SLURM_PROCID='4'), 'process 4 of 4; expected 0 to 3'),
    (without(OPEN_MPI, 'OMPI_COMM_WORLD_RANK'), 'OMPI_COMM_WORLD_RANK is not set'),
    (without(OPEN_MPI, 'OMPI_MCA_orte_hnp_uri'), 'nothing says where process 0 is'),
    (dict(PMI_SIZE='2', PMI_RANK='1'), 'mpiexec -genv'),
    (without(TORCH, 'MASTER_ADDR'), 'WORLD_SIZE=4.*MASTER_ADDR is not set'),
    (TORCH | dict(RANK='one'), "RANK='one': expected a whole number"),
    (TORCH | dict(MASTER_PORT='70000'), "'n1:70000': expected host:port"),
    (without(JOBSET, 'PROCESSES_IN_JOB'), 'PROCESSES_IN_JOB is not set'),
    (dict(JAX_NUM_PROCESSES='2'), 'ADDRESS and JAX_PROCESS_ID are not set'),
    (SLURM | dict(JAX_COORDINATOR_ADDRESS='n1'), "ADDRESS='n1': expected host:port"),
  ],
)
def test_incomplete_evidence_is_an_error_with_the_way_out(environ, message):
  with pytest.raises(UserError, match=message) as error:
    discovery.find(environ=environ)
  if 'not set' in message or 'given' in message:
    assert 'GPT_JAX_NUM_PROCESSES=1' in str(error.value)


def test_pods_of_a_jobset_are_known_by_their_names():
  found = discovery.find(environ=JOBSET)
  assert found.hosts == tuple(
    f'gpt-workers-{job}-{pod}' for job in (0, 1) for pod in (0, 1)
  )
  assert found.label(2) == '2 (gpt-workers-1-0)'


def test_flags_go_before_the_environment(monkeypatch):
  monkeypatch.setattr(tpu_pods, 'uses_tpu', lambda: True)
  assert discovery.find('h:1', 2, 1, environ=SLURM).source == 'GPT_JAX_COORDINATOR'


@pytest.mark.parametrize('name', ENVIRONMENTS)
def test_the_page_on_launching_names_what_is_read(name):
  page = (pathlib.Path(__file__).parents[2] / 'docs' / 'launching.md').read_text()
  found = discovery.find(environ=ENVIRONMENTS[name][0])
  assert [name for name in found.variables if f'`{name}`' not in page] == []
