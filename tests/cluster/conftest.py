"""Fixtures of the tests on real servers; without those of `make cluster` they skip."""

import os
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
