"""Fixtures of the tests on real servers; without those of `make cluster` they skip."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests import tiny_runs
from tests.cluster import servers, slurm

# As few threads as a node has cores, and the device that there is.
ENVIRONMENT = {
  'JAX_PLATFORMS': 'cpu',
  'XLA_FLAGS': '--xla_backend_optimization_level=0',
  'GPT_JAX_CACHE': str(tiny_runs.ROOT / '.cache' / 'xla'),
}


@pytest.fixture(scope='session')
def nodes():
  """Returns once two nodes of a real SLURM are idle, or skips."""
  if not shutil.which('sinfo') or 'SLURM_CONF' not in os.environ:
    pytest.skip('needs a SLURM for tests: make cluster starts one')
  is_idle = lambda: slurm.call('sinfo', '-hNo', '%T').split() == ['idle'] * 2  # noqa: E731
  servers.until(is_idle, 30, 'two idle nodes')
  return is_idle


@pytest.fixture
def idle_nodes(nodes):
  """Returns once no job is left; a failed test leaves none to the next one."""
  yield
  slurm.call('scancel', '--partition=debug')
  servers.until(nodes, 60, 'the end of all jobs')


@pytest.fixture
def gpt_jax():
  """Returns `(words) -> (exit code, output)` of the command line, in this folder."""

  def run(*words, timeout=300):
    done = subprocess.run(
      [sys.executable, '-m', 'gpt_jax', *map(str, words)],
      env=os.environ | ENVIRONMENT,
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      timeout=timeout,
      cwd=tiny_runs.ROOT,
    )
    return done.returncode, done.stdout + done.stderr

  return run


def last_step(workdir):
  """Returns the step of the last complete line of metrics, 0 before the first."""
  try:
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  except OSError:
    return 0
  return json.loads(lines[-1])['step'] if lines and lines[-1].endswith('}') else 0
