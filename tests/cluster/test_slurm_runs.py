"""Runs on a real SLURM of two nodes: trained, interrupted, requeued, swept."""

import re

import pytest

from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests.cluster import runs, servers, slurm
from tests.sweeps import studies

pytestmark = [
  pytest.mark.cluster,
  pytest.mark.slow,
  pytest.mark.usefixtures('idle_nodes'),
]


def requeue(job):
  slurm.call('scontrol', 'requeue', job)


def signal(job):
  slurm.call('scancel', '--signal=TERM', job)


def kill(job):
  slurm.call('scancel', '--signal=KILL', f'{job}.0')  # its processes alone


def take_a_node_down(job):
  slurm.call('scontrol', 'update', 'nodename=n2', 'state=down', 'reason=test')
  servers.until(lambda: runs.state(job) != 'RUNNING', 60, 'an end without the node')
  slurm.call('scontrol', 'update', 'nodename=n2', 'state=resume')


def test_a_run_survives_whatever_interrupts_it(gpt_jax, uninterrupted, tmp_path):
  workdir = tmp_path / 'run'
  job = runs.submit(gpt_jax, workdir)
  interrupts = (requeue, signal, kill, take_a_node_down)
  for start, interrupt in enumerate(interrupts, 1):
    servers.until(lambda: f'start {start},' in runs.log_of(workdir, job), 60, 'a start')  # noqa: B023
    runs.wait_for_step(workdir, runs.last_step(workdir) + 10)
    interrupt(job)
    servers.until(lambda: runs.state(job) != 'RUNNING', 60, 'the end of a start')
  runs.wait_for(job, 'COMPLETED')
  assert 'start 5, on n[1-2]' in runs.log_of(workdir, job)
  assert 'requeued: crash 1 of at most 10' in runs.log_of(workdir, job)
  starts = provenance.read_starts(Workdir(workdir))
  assert [start['processes'] for start in starts] == [2] * 5
  runs.assert_same_end(workdir, uninterrupted)
  for process in (0, 1):
    assert runs.text(workdir / 'logs' / f'slurm-{job}.task{process}.log')


def test_a_cancelled_run_stays_cancelled(gpt_jax, tmp_path):
  job = runs.submit(gpt_jax, tmp_path / 'run', run=runs.ENDLESS)
  runs.wait_for_step(tmp_path / 'run', 10)
  slurm.call('scancel', job)
  servers.until(slurm.are_idle, 60, 'the end of the job')
  assert runs.state(job) == 'CANCELLED'
  assert 'requeued' not in runs.log_of(tmp_path / 'run', job)


def test_a_run_out_of_time_is_saved_and_requeued(gpt_jax, tmp_path):
  workdir, flags = tmp_path / 'run', ['--time=2', '--save_seconds=45']
  job = runs.submit(gpt_jax, workdir, *flags, run=runs.ENDLESS)

  def said():
    return runs.log_of(workdir, job)

  servers.until(lambda: 'requeued: it resumes' in said(), 150, 'the limit')
  assert 'stopped with nothing lost (exit code 75)' in said()
  saved = max(int(step.name) for step in (workdir / 'checkpoints').glob('[0-9]*'))
  servers.until(lambda: 'start 2' in said(), 60, 'the second start')
  task = workdir / 'logs' / f'slurm-{job}.task0.log'
  servers.until(lambda: f'resumed from step {saved}' in runs.text(task), 60, 'a resume')


def test_an_array_of_points_survives_one_that_fails(gpt_jax, tmp_path):
  rows = {f'rate {n}': {'optimizer.learning_rate': n / 100} for n in range(1, 6)}
  rows['bad'] = {'optimizer.name': 'sgd', 'optimizer.learning_rate': 1e30}
  rows['bad'] |= {'guard.max_bad_steps': 2, 'optimizer.clip_norm': 0.0}
  path = studies.write(tmp_path, rows=repr(rows))
  flags = [path, f'--workdir={tmp_path / "runs"}']
  places = ['--where=slurm', '--cpus_per_task=1', '--at_once=3', '--wait', *runs.FLAGS]
  code, said = gpt_jax('sweep', *flags, *places)
  assert code == 6, said
  assert len(re.findall(r'job \d+_\d: completed', said)) == 5, said
  assert len(re.findall(r'job \d+_\d: failed, exit code 6', said)) == 1, said
  _, shown = gpt_jax('status', *flags)
  assert 'study quick: 6 points: 5 done, 1 failed' in shown


def test_nodes_train_a_point_together(gpt_jax, tmp_path):
  path = studies.write(tmp_path, rows="{'a': {}}")
  root = tmp_path / 'runs'
  places = ['--where=slurm', '--nodes=2', '--wait', *runs.FLAGS]
  code, said = gpt_jax('sweep', path, f'--workdir={root}', *places)
  assert code == 0, said
  (start,) = provenance.read_starts(Workdir(root / 'study' / 'quick' / 'a,seed=0'))
  assert (start['processes'], start['mesh']['data']) == (2, 2)


def test_what_the_cluster_lacks_is_refused_by_name(gpt_jax, tmp_path):
  train = ['--', 'train', '--config=tiny', f'--workdir={tmp_path / "run"}']
  code, said = gpt_jax('launch', '--where=slurm', '--nodes=3', *train)
  assert code == 2 and '--nodes=3: the partition debug has 2 nodes' in said
  code, said = gpt_jax('launch', '--where=slurm', '--partition=debgu', *train)
  assert code == 2 and "did you mean 'debug'?" in said
  assert not (tmp_path / 'run').exists()
