"""Several processes as one: evidence, shared batches, checkpoints, a dying peer."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.launchers import processes as launcher
from gpt_jax.parallel import discovery, multihost, rendezvous
from gpt_jax.workdir.paths import Workdir

WORKER = [sys.executable, '-m', 'tests.parallel.multihost_worker']


LAUNCHERS = (
  'GPT_JAX_', 'SLURM_', 'OMPI_', 'PMI_', 'TPU_', 'MEGASCALE_', 'JAX_COORDINATOR',
  'WORLD_SIZE', 'TORCHELASTIC_', 'JOB_COMPLETION_INDEX',
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_evidence(monkeypatch):
  """Takes away what would make this process one of several."""
  for variable in list(os.environ):
    if variable.startswith(LAUNCHERS):
      monkeypatch.delenv(variable)


@pytest.fixture
def started(monkeypatch):
  """Returns the arguments that jax.distributed would have been started with."""
  calls = []
  monkeypatch.setattr(jax.distributed, 'initialize', lambda **kw: calls.append(kw))
  monkeypatch.setattr(rendezvous, 'meet', lambda evidence, **kw: None)
  return calls


# When a process joins


def test_without_evidence_nothing_is_started(started):
  assert multihost.initialize() is None
  assert started == []


def test_arguments_and_variables_say_the_same(started, monkeypatch):
  given = ('10.0.0.1:1234', '2', '1')
  for variable, value in zip(discovery.VARIABLES, given, strict=True):
    monkeypatch.setenv(variable, value)
  multihost.initialize()
  for variable in discovery.VARIABLES:
    monkeypatch.delenv(variable)
  multihost.initialize('10.0.0.1:1234', 2, 1)
  assert len(started) == 2 and started[0] == started[1]
  assert started[0]['coordinator_address'] == '10.0.0.1:1234'
  assert (started[0]['num_processes'], started[0]['process_id']) == (2, 1)
  assert started[0]['coordinator_bind_address'] is None


def test_arguments_go_before_variables(started, monkeypatch):
  monkeypatch.setenv('GPT_JAX_NUM_PROCESSES', '1')
  multihost.initialize('10.0.0.1:1234', 4, 3)
  assert started[0]['num_processes'] == 4


def test_a_run_on_one_machine_listens_on_that_machine_alone(started):
  multihost.initialize('127.0.0.1:1234', 2, 0)
  multihost.initialize('localhost:1234', 2, 0)
  assert [call['coordinator_bind_address'] for call in started] == [
    '127.0.0.1:1234',
    'localhost:1234',
  ]


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (('h:1', 2, None), 'NUM_PROCESSES=2 without GPT_JAX_PROCESS_ID: .*given'),
    ((None, None, 0), 'ID=0 without GPT_JAX_COORDINATOR and GPT_JAX_NUM.*given'),
    (('host', 2, 0), "GPT_JAX_COORDINATOR='host': expected host:port"),
    (('h:1', 2, 2), 'GPT_JAX_PROCESS_ID=2: expected 0 to 1'),
    (('h:1', 'two', 0), "GPT_JAX_NUM_PROCESSES='two': expected a whole number"),
  ],
)
def test_incomplete_or_contradictory_evidence_is_refused(started, given, message):
  with pytest.raises(UserError, match=message):
    multihost.initialize(*given)
  assert started == []


SLURM = dict(
  SLURM_JOB_ID='1', SLURM_NTASKS='4', SLURM_STEP_NODELIST='n[1-4]', SLURM_PROCID='0'
)


def test_evidence_of_a_launcher_is_what_jax_is_started_with(started, monkeypatch):
  for variable, value in SLURM.items():
    monkeypatch.setenv(variable, value)
  assert multihost.initialize() == 'slurm'
  assert started[0]['coordinator_address'] == 'n1:61441'
  assert (started[0]['num_processes'], started[0]['process_id']) == (4, 0)
  assert started[0]['cluster_detection_method'] == 'deactivate'


def test_one_task_per_slurm_node_gets_all_its_devices(started, monkeypatch):
  for variable, value in SLURM.items():
    monkeypatch.setenv(variable, value)
  multihost.initialize()
  monkeypatch.setenv('SLURM_STEP_NODELIST', 'n1')
  multihost.initialize()
  assert [call.get('local_device_ids') for call in started] == [None, (0,)]


@pytest.mark.parametrize(
  'variables',
  [
    dict(SLURM_NTASKS='4', SLURM_JOB_ID='1'),  # sbatch: a single process so far
    dict(SLURM_NTASKS='1', SLURM_STEP_NODELIST='n1'),
    dict(GPT_JAX_NUM_PROCESSES='1', OMPI_COMM_WORLD_SIZE='4'),
    dict(TPU_WORKER_HOSTNAMES='a,b'),  # but the user chose another platform
  ],
)
def test_a_process_that_is_alone_stays_alone(started, monkeypatch, variables):
  for variable, value in variables.items():
    monkeypatch.setenv(variable, value)
  assert multihost.initialize() is None
  assert started == []


def test_a_failed_join_is_an_error_that_says_how_to_run_alone(monkeypatch):
  for variable, value in SLURM.items():
    monkeypatch.setenv(variable, value)

  def fail(**_):
    raise RuntimeError('no route')

  monkeypatch.setattr(jax.distributed, 'initialize', fail)
  monkeypatch.setattr(rendezvous, 'meet', lambda evidence, **kw: None)
  with pytest.raises(UserError, match=r'SLURM_STEP_NODELIST.*no route') as error:
    multihost.initialize()
  assert 'GPT_JAX_NUM_PROCESSES=1' in str(error.value)


def test_a_silent_coordinator_is_an_error_with_its_address():
  address = f'127.0.0.1:{launcher._free_port()}'
  with pytest.raises(UserError, match=f'{address}.*refused'):
    multihost.initialize(address, 2, 1, timeout_seconds=0.2)


# Whose rows are whose


def mesh(data, tensor):
  devices = np.asarray(jax.devices()[: data * tensor]).reshape(data, tensor)
  return Mesh(devices, ('data', 'tensor'))


def test_one_process_loads_all_rows_and_they_come_back_in_order():
  sharding = NamedSharding(mesh(4, 2), PartitionSpec('data', 'tensor'))
  assert multihost.local_rows(sharding, 8) == slice(0, 8)
  local_batch = {
    'tokens': np.arange(32, dtype=np.int32).reshape(8, 4),
    'weights': np.arange(8, dtype=np.float32),
  }
  batch = multihost.global_batch(local_batch, sharding)
  for name, rows in local_batch.items():
    np.testing.assert_array_equal(batch[name], rows)
  assert batch['tokens'].sharding.spec == PartitionSpec('data', 'tensor')
  assert batch['weights'].sharding.spec == PartitionSpec('data')


class SeenFromOneProcess:
  """A sharding as the owner of some of its devices sees it."""

  def __init__(self, sharding, devices):
    self.mesh, self.spec = sharding.mesh, sharding.spec
    self._sharding, self._devices = sharding, devices

  def addressable_devices_indices_map(self, shape):
    indices = self._sharding.devices_indices_map(shape)
    return {device: indices[device] for device in self._devices}


def test_each_process_loads_the_rows_of_its_own_devices():
  sharding = NamedSharding(mesh(4, 2), PartitionSpec('data'))
  devices = jax.devices()

  def rows(mine):
    return multihost.local_rows(SeenFromOneProcess(sharding, mine), 8)

  assert [rows(devices[:4]), rows(devices[4:])] == [slice(0, 4), slice(4, 8)]
  # Tensor parallelism across processes: both hold a half of the same computation.
  assert rows(devices[::2]) == rows(devices[1::2]) == slice(0, 8)
  with pytest.raises(ConfigError, match=r'gaps'):
    rows([devices[0], devices[4]])


# Several processes


def launch(*arguments, processes, devices=2, **options):
  exit_code, _ = launcher.run(
    [*WORKER, *map(str, arguments)],
    processes=processes,
    devices_per_process=devices,
    **options,
  )
  return exit_code


@pytest.mark.slow
def test_two_processes_save_and_fail_as_one(tmp_path, capfd):
  run = tmp_path / 'run'
  assert launch('train', run, processes=2, log_dir=tmp_path / 'logs') == 0
  evidence = 'joined by GPT_JAX_COORDINATOR'
  assert f'done: process 0 of 2, 4 devices, {evidence}' in capfd.readouterr().out
  log = (tmp_path / 'logs' / 'process_1.log').read_text()
  assert f'done: process 1 of 2, 4 devices, {evidence}' in log
  with Workdir(run).lock():
    assert launch('fail', run, processes=2, devices=1) == 0
  assert '[1] done: process 1 of 2, 2 devices' in capfd.readouterr().err
  assert launch('restore', run, processes=1, devices=4) == 0
  assert 'done: process 0 of 1, 4 devices, joined by None' in capfd.readouterr().out


def send_to(processes, number):
  for process in processes:
    process.send_signal(number)


def run_all(command, environments):
  """Returns [(exit code, output)] of `command` in a process for each environment."""
  processes = [
    subprocess.Popen(
      command,
      # Where each of its threads is stands in the output of one that is aborted.
      env=os.environ | {'PYTHONFAULTHANDLER': '1'} | environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for environment in environments
  ]
  abort = threading.Timer(120, send_to, (processes, signal.SIGABRT))
  abort.start()
  try:
    texts = [process.communicate()[0] for process in processes]
  finally:
    abort.cancel()
    send_to(processes, signal.SIGKILL)
  return [(p.returncode, text) for p, text in zip(processes, texts, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(
  ('source', 'shared', 'index'),
  [
    ('slurm', dict(SLURM_JOB_ID='1', SLURM_NTASKS='2'), 'SLURM_PROCID'),
    ('ompi', dict(OMPI_COMM_WORLD_SIZE='2'), 'OMPI_COMM_WORLD_RANK'),
    ('pmi', dict(PMI_SIZE='2'), 'PMI_RANK'),
    ('jobset', dict(JAX_PROCESS_COUNT='2'), 'JOB_COMPLETION_INDEX'),
    ('jax', dict(JAX_NUM_PROCESSES='2'), 'JAX_PROCESS_ID'),
    ('WORLD_SIZE', dict(WORLD_SIZE='2', LOCAL_WORLD_SIZE='2'), 'RANK'),
  ],
)
def test_processes_of_each_launcher_come_together(source, shared, index):
  port = str(launcher._free_port())
  shared = (
    dict(
      SLURM_STEP_NODELIST='localhost',
      JAX_COORDINATOR_ADDRESS=f'127.0.0.1:{port}',
      MASTER_ADDR='127.0.0.1',
      MASTER_PORT=port,
    )
    | shared
  )
  ended = run_all([*WORKER, 'meet', '-'], [shared | {index: i} for i in '10'])
  for process, (code, text) in zip((1, 0), ended, strict=True):
    assert code == 0, text
    assert f'done: process {process} of 2' in text and f'joined by {source}' in text


@pytest.mark.slow
@pytest.mark.parametrize(
  ('program', 'package', 'source', 'flags'),
  [
    ('mpirun.openmpi', 'openmpi-bin', 'ompi', '--allow-run-as-root --oversubscribe'),
    ('mpiexec.hydra', 'mpich', 'pmi', '-genv JAX_COORDINATOR_ADDRESS 127.0.0.1:{port}'),
  ],
)
def test_what_mpirun_starts_comes_together(program, package, source, flags):
  if shutil.which(program) is None:
    pytest.skip(f'no {program} here: it is in the Debian package {package}')
  words = [program, *flags.format(port=launcher._free_port()).split(), '-n', '2']
  ((code, text),) = run_all([*words, *WORKER, 'meet', '-'], [{}])
  assert code == 0, text
  for process in range(2):
    expected = f'done: process {process} of 2, 16 devices, joined by {source}'
    assert expected in text


@pytest.mark.slow
@pytest.mark.parametrize('missing', [0, 2])
def test_a_process_that_never_starts_is_named_by_all(tmp_path, missing):
  slurm = SLURM | dict(SLURM_STEP_NODELIST='localhost,n[2-3]', SLURM_NTASKS='3')
  slurm |= dict(JAX_COORDINATOR_PORT=str(launcher._free_port()))
  command = [sys.executable, '-m', 'gpt_jax', 'train', '--config=configs/tiny.py']
  command += [f'--workdir={tmp_path / "run"}', '--join_seconds=15']
  there = [index for index in range(3) if index != missing]
  start = time.monotonic()
  ended = run_all(command, [slurm | dict(SLURM_PROCID=str(i)) for i in there])
  assert time.monotonic() - start > 15
  for index, (code, text) in zip(there, ended, strict=True):
    assert code == 2 and 'Traceback' not in text
    assert 'slurm: SLURM_STEP_NODELIST=localhost,n[2-3]' in text
    if missing:
      assert 'missing: 2 (n3); there: 0 (localhost), 1 (n2)' in text
    else:
      assert 'process 0 (localhost) is missing: localhost:' in text
      assert f'there: {index} (n{index + 1})' in text
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('how', 'code'),
  [
    pytest.param('3', 3, marks=pytest.mark.slow),
    ('kill', 128 + signal.SIGKILL),
  ],
)
def test_a_dying_process_ends_the_others_with_its_exit_code(how, code, capfd):
  assert launch('die', how, processes=2, devices=1, stop_seconds=0.5) == code
  assert f'process 1 ended first, exit code {code}' in capfd.readouterr().err
