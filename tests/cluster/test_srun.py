"""Processes that a real `srun` starts: each knows which it is, and who is missing."""

import os
import subprocess
import sys

import pytest

from tests import tiny_runs
from tests.cluster import runs

pytestmark = [
  pytest.mark.cluster,
  pytest.mark.slow,
  pytest.mark.usefixtures('idle_nodes'),
]
PROGRAM = [sys.executable, '-m', 'gpt_jax']


def srun(*words):
  """Returns (exit code, output) of a command as two tasks, each on its node."""
  done = subprocess.run(
    ['srun', '--nodes=2', '--ntasks=2', '--kill-on-bad-exit', '--label', *words],
    env=os.environ | runs.ENVIRONMENT,
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    timeout=runs.DEADLINE,
    cwd=tiny_runs.ROOT,
  )
  return done.returncode, done.stdout + done.stderr


def test_doctor_says_which_process_this_is_and_why():
  code, said = srun(*PROGRAM, 'doctor')
  assert code == 0, said
  for process, node in enumerate(('n1', 'n2')):
    (line,) = [line for line in said.splitlines() if f'{process} ({node}) of 2' in line]
    assert line.startswith(f'{process}: ok    processes')
    assert 'process 0 listens at n1:' in line
    evidence = 'slurm: SLURM_STEP_NODELIST=n[1-2], SLURM_STEP_NUM_TASKS=2'
    assert f'{evidence}, SLURM_PROCID={process}' in line


def test_a_task_that_never_starts_is_named_by_its_node(tmp_path):
  train = [*PROGRAM, 'train', '--config=tiny', f'--workdir={tmp_path}/run']
  script = 'if [ $SLURM_PROCID = 1 ]; then exec sleep 100; fi; exec "$@"'
  code, said = srun('sh', '-c', script, 'sh', *train, '--join_seconds=3')
  assert code and 'task 0: Exited with exit code 2' in said, said
  assert '0: after 3 s 1 of 2 processes missing: 1 (n2); there: 0 (n1).' in said


def test_folders_that_nodes_do_not_share_are_no_workdir(tmp_path):
  train = [*PROGRAM, 'train', '--config=tiny']
  script = f'exec "$@" --workdir={tmp_path}/$SLURMD_NODENAME'
  code, said = srun('sh', '-c', script, 'sh', *train)
  assert code and 'task 1: Exited with exit code 5' in said, said
  assert f'1: gpt-jax: error: --workdir={tmp_path}/n2: on ' in said
