"""Runs on a real SLURM of two nodes: trained, interrupted, requeued, swept."""

import re

import pytest

from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.cluster import conftest, servers, slurm
from tests.sweeps import studies

pytestmark = [
  pytest.mark.cluster,
  pytest.mark.slow,
  pytest.mark.usefixtures('idle_nodes'),
]

STEPS = 600
LONG = tiny_runs.TINY | tiny_runs.ONE_LAYER | {
  'train.steps': STEPS,
  'eval.every_steps': 0,
  'checkpoint.every_steps': 50,
  'checkpoint.keep_last': 100,
}  # fmt: skip
# SLURM sees an end by a signal; a queued step may take a while on two cores.
DEADLINE = 180


@pytest.fixture(scope='module')
def uninterrupted(nodes, tmp_path_factory):
  """Returns the workdir of the run as two processes without SLURM."""
  import os
  import subprocess
  import sys

  workdir = tmp_path_factory.mktemp('whole') / 'run'
  command = [sys.executable, '-m', 'gpt_jax', 'launch', '--processes=2']
  command += ['--devices_per_process=1', '--', 'train', *tiny_runs.flags(LONG)]
  subprocess.run(
    [*command, f'--workdir={workdir}'],
    env=os.environ | conftest.ENVIRONMENT, check=True, timeout=300,
    capture_output=True,
  )  # fmt: skip
  return workdir


def submit(gpt_jax, workdir, *flags):
  """Returns the id of a job that trains LONG on two nodes."""
  variables = [f'--env={name}' for name in conftest.ENVIRONMENT]
  code, said = gpt_jax(
    'launch', '--where=slurm', '--nodes=2', *variables, *flags, '--',
    'train', *tiny_runs.flags(LONG), f'--workdir={workdir}',
  )  # fmt: skip
  assert code == 0, said
  return re.search(r'job (\d+) \(', said)[1]


def state(job):
  return re.search(r'JobState=(\w+)', slurm.call('scontrol', 'show', 'job', job))[1]


def wait_for(job, wanted, seconds=DEADLINE):
  servers.until(lambda: state(job) == wanted, seconds, f'{wanted} of job {job}')


def log_of(workdir, job):
  return (workdir / 'logs' / f'slurm-{job}.log').read_text()


def assert_equal_ends(workdir, whole):
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(workdir, STEPS), tiny_runs.saved_arrays(whole, STEPS), rtol=0
  )


def interrupt_by_requeue(job):
  slurm.call('scontrol', 'requeue', job)


def interrupt_by_signal(job):
  slurm.call('scancel', '--signal=TERM', job)


def interrupt_by_node(job):
  slurm.call('scontrol', 'update', 'nodename=n2', 'state=down', 'reason=test')
  servers.until(
    lambda: state(job) != 'RUNNING', 60, 'the end of a job without its node'
  )
  slurm.call('scontrol', 'update', 'nodename=n2', 'state=resume')


@pytest.mark.parametrize(
  'interrupt', [interrupt_by_requeue, interrupt_by_signal, interrupt_by_node]
)
def test_an_interrupted_run_ends_bit_equal(interrupt, gpt_jax, uninterrupted, tmp_path):
  workdir = tmp_path / 'run'
  job = submit(gpt_jax, workdir)
  servers.until(lambda: conftest.last_step(workdir) > 60, DEADLINE, 'step 60')
  interrupt(job)
  wait_for(job, 'COMPLETED')
  assert 'start 2, on n[1-2]' in log_of(workdir, job)
  starts = provenance.read_starts(Workdir(workdir))
  assert [start['processes'] for start in starts] == [2, 2]
  assert_equal_ends(workdir, uninterrupted)
  for process in (0, 1):
    assert (workdir / 'logs' / f'slurm-{job}.task{process}.log').stat().st_size


def test_a_cancelled_run_stays_cancelled(gpt_jax, tmp_path):
  workdir = tmp_path / 'run'
  job = submit(gpt_jax, workdir)
  servers.until(lambda: conftest.last_step(workdir) > 10, DEADLINE, 'step 10')
  slurm.call('scancel', job)
  wait_for(job, 'CANCELLED')
  servers.until(lambda: not slurm.call('squeue', '-h', '-j', job), 60, 'its end')
  assert 'requeued' not in log_of(workdir, job)


def test_a_time_limit_saves_and_requeues(gpt_jax, uninterrupted, tmp_path):
  # The limit is a minute, and the run is told a minute before at the latest.
  workdir = tmp_path / 'run'
  job = submit(gpt_jax, workdir, '--time=1', '--save_seconds=55')
  wait_for(job, 'COMPLETED', 300)
  assert 'stopped and saved (exit code 75)' in log_of(workdir, job)
  assert_equal_ends(workdir, uninterrupted)


def test_an_array_of_points_survives_one_that_fails(gpt_jax, tmp_path):
  rows = {f'rate {n}': {'optimizer.learning_rate': n / 100} for n in range(1, 6)}
  rows['bad'] = {'optimizer.name': 'sgd', 'optimizer.learning_rate': 1e30}
  rows['bad'] |= {'guard.max_bad_steps': 2, 'optimizer.clip_norm': 0.0}
  path = studies.write(tmp_path, rows=repr(rows))
  variables = [f'--env={name}' for name in conftest.ENVIRONMENT]
  flags = [path, f'--workdir={tmp_path / "runs"}']
  code, said = gpt_jax(
    'sweep', *flags, '--where=slurm', '--cpus_per_task=1', '--at_once=3', '--wait',
    *variables,
  )  # fmt: skip
  assert code == 6, said
  assert len(re.findall(r'job \d+_\d: completed', said)) == 5, said
  assert len(re.findall(r'job \d+_\d: failed, exit code 6', said)) == 1, said
  _, shown = gpt_jax('status', *flags)
  assert 'study quick: 6 points: 5 done, 1 failed' in shown


def test_nodes_train_a_point_together(gpt_jax, tmp_path):
  path = studies.write(tmp_path, rows="{'a': {}}")
  variables = [f'--env={name}' for name in conftest.ENVIRONMENT]
  root = tmp_path / 'runs'
  code, said = gpt_jax(
    'sweep', path, f'--workdir={root}', '--where=slurm', '--nodes=2', '--wait',
    *variables,
  )  # fmt: skip
  assert code == 0, said
  (start,) = provenance.read_starts(Workdir(root / 'study' / 'quick' / 'a,seed=0'))
  assert (start['processes'], start['mesh']['data']) == (2, 2)


def test_what_the_cluster_lacks_is_refused_by_name(gpt_jax, tmp_path):
  def refused(*flags):
    return gpt_jax(
      'launch', '--where=slurm', *flags, '--', 'train', '--config=tiny',
      f'--workdir={tmp_path / "run"}',
    )  # fmt: skip

  code, said = refused('--nodes=3')
  assert code == 2 and '--nodes=3: the partition debug has 2 nodes' in said
  code, said = refused('--partition=debgu')
  assert code == 2 and "did you mean 'debug'?" in said
  assert not (tmp_path / 'run').exists()
