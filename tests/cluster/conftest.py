"""Fixtures of the tests on real servers; without those of `make cluster` they skip."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests import tiny_runs
from tests.cluster import runs, servers, slurm


@pytest.fixture(scope='session')
def nodes():
  """Returns whether both nodes of a real SLURM are idle, as a function; or skips."""
  if not shutil.which('sinfo') or 'SLURM_CONF' not in os.environ:
    pytest.skip('needs a SLURM for tests: make cluster starts one')
  servers.until(slurm.are_idle, 30, 'two idle nodes')
  return slurm.are_idle


@pytest.fixture
def cluster(nodes):
  """Returns the slurm.Cluster; nodes that a test has taken down are there again."""
  cluster = slurm.Cluster(pathlib.Path(os.environ['SLURM_CONF']).parent)
  yield cluster
  for node in slurm.NODES:
    cluster.start_node(node)


@pytest.fixture
def idle_nodes(nodes):
  """A test begins on idle nodes; what a failed one has left is cancelled."""
  yield
  slurm.call('scancel', '--partition=debug')
  servers.until(nodes, 60, 'the end of all jobs')


@pytest.fixture(scope='session')
def bucket():
  """Returns the URL of a folder in the bucket of `make cluster`, or skips."""
  if not all(map(os.environ.get, runs.BUCKET)):
    pytest.skip('needs a bucket for tests: make cluster starts one')
  return 'gs://test-bucket/slurm'


@pytest.fixture(scope='session')
def gpt_jax():
  """Returns `(words) -> (exit code, output)` of the command line, in the clone."""

  def run(*words, timeout=300):
    done = subprocess.run(
      [sys.executable, '-m', 'gpt_jax', *map(str, words)],
      env=os.environ | runs.ENVIRONMENT,
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      timeout=timeout,
      cwd=tiny_runs.ROOT,
    )
    return done.returncode, done.stdout + done.stderr

  return run


@pytest.fixture(scope='session')
def uninterrupted(nodes, gpt_jax, tmp_path_factory):
  """Returns the workdir of RUN, trained by two processes without SLURM."""
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  code, said = gpt_jax(
    'launch', '--processes=2', '--devices_per_process=1', '--',
    'train', *tiny_runs.flags(runs.RUN), f'--workdir={workdir}',
  )  # fmt: skip
  assert code == 0, said
  return workdir
