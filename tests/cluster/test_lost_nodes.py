"""Nodes that are lost: processes die unseen, or live on where SLURM cannot see them."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from gpt_jax.workdir import lock, provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.cluster import runs, servers

pytestmark = [
  pytest.mark.cluster,
  pytest.mark.slow,
  pytest.mark.usefixtures('idle_nodes'),
]

# More than an old start makes while a new one begins, on a fast machine too.
ALONE = runs.RUN | {'train.steps': 5000, 'checkpoint.keep_last': 3}


def test_a_run_survives_a_node_that_loses_its_power(
  gpt_jax, cluster, uninterrupted, tmp_path
):
  workdir = tmp_path / 'run'
  job = runs.submit(gpt_jax, workdir)
  runs.wait_for_step(workdir, 110)
  cluster.kill_node('n2')
  servers.until(lambda: runs.state(job) != 'RUNNING', 90, 'the loss is noticed')
  cluster.start_node('n2')
  runs.wait_for(job, 'COMPLETED')
  assert 'start 2, on n[1-2]' in runs.log_of(workdir, job)
  runs.assert_same_end(workdir, uninterrupted)


@contextlib.contextmanager
def trained_here(workdir, run):
  """Trains meanwhile without SLURM, for comparison; ends with the block."""
  words = ['train', *tiny_runs.flags(run), f'--workdir={workdir}']
  process = subprocess.Popen(
    [sys.executable, '-m', 'gpt_jax', *words],
    env=os.environ | runs.ENVIRONMENT,
    stdout=subprocess.DEVNULL,
    cwd=tiny_runs.ROOT,
  )
  try:
    yield
    assert process.wait(runs.DEADLINE) == 0
  finally:
    process.kill()
    process.wait()


def test_of_two_starts_of_a_job_the_older_one_stops(gpt_jax, cluster, tmp_path):
  workdir = tmp_path / 'run'
  job = runs.submit(gpt_jax, workdir, '--nodes=1', run=ALONE)
  runs.wait_for_step(workdir, 110)
  assert 'start 1, on n1' in runs.log_of(workdir, job)
  older = lock.owner(workdir).pid
  with trained_here(tmp_path / 'whole', ALONE):
    cluster.cut_node_off('n1')
    os.kill(older, signal.SIGSTOP)  # so that steps are left for what follows
    is_again = 'start 2,'
    servers.until(lambda: is_again in runs.log_of(workdir, job), 120, is_again)
    os.kill(older, signal.SIGCONT)  # trains and saves while the newer one begins
    runs.wait_for(job, 'COMPLETED')
  servers.until(
    lambda: not pathlib.Path(f'/proc/{older}').exists(),
    30,
    'the end of the older start',
  )
  assert 'start 2, on n2' in runs.log_of(workdir, job)
  said = runs.text(workdir / 'logs' / f'slurm-{job}.task0.log')
  assert f'SLURM has started job {job}' in said and 'took over the lock' in said
  assert 'the lock of this run is lost' in said and 'It stops here' in said
  assert len(provenance.read_starts(Workdir(workdir))) == 2
  assert lock.owner(workdir) is None
  code, verified = gpt_jax('checkpoint', 'verify', f'--workdir={workdir}')
  assert code == 0, verified
  assert tiny_runs.losses(workdir) == tiny_runs.losses(tmp_path / 'whole')
  runs.assert_same_end(workdir, tmp_path / 'whole', 5000)
