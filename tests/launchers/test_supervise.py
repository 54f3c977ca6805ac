"""What the supervisor does after each kind of end, and a run that loses a worker."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from gpt_jax.launchers import supervise
from gpt_jax.train import loop
from tests import tiny_runs

POLICY = supervise.Policy(max_restarts=4, restart_seconds=3.0, same_step_crashes=3)


def leave(workdir, step=None, saved=None):
  """Writes what a run leaves that came to `step` and saved `saved`."""
  if step is not None:
    with open(workdir / 'metrics.jsonl', 'a') as file:
      file.write(json.dumps({'step': step}) + '\n')
  if saved is not None:
    (workdir / 'checkpoints' / str(saved)).mkdir(parents=True)


def supervised(workdir, ends):
  """Returns (exit code, attempts, messages, waits) of attempts that end as `ends` say.

  Each is (exit code, step reached, step saved) and maybe True: a signal asked to stop.
  """
  messages, waits, left = [], [], list(ends)

  def attempt(is_hung):
    code, step, saved, *was_stopped = left.pop(0)
    leave(workdir, step, saved)
    return code, bool(was_stopped)

  code = supervise.supervise(attempt, workdir, POLICY, messages.append, waits.append)
  return code, len(ends) - len(left), messages, waits


def test_a_killed_run_is_started_again(tmp_path):
  code, attempts, messages, waits = supervised(tmp_path, [(137, 7, 5), (0, 20, 20)])
  assert (code, attempts, waits) == (0, 2, [3.0])
  assert 'killed by signal 9' in messages[0] and 'last save of step 5' in messages[0]


@pytest.mark.parametrize('code', [0, 2, 3, 4, 5, 6, 130])
def test_mistakes_of_the_user_are_final(code, tmp_path):
  assert supervised(tmp_path, [(code, 1, None), (0, 2, None)])[:2] == (code, 1)


def test_a_preempted_run_restarts_unless_told_to_stop(tmp_path):
  assert supervised(tmp_path, [(75, 4, 4), (0, 9, 9)])[:2] == (0, 2)
  assert supervised(tmp_path, [(75, 4, None, True), (0, 9, None)])[:2] == (75, 1)


def test_preemptions_are_no_crash_loop(tmp_path):
  assert supervised(tmp_path, [(75, 0, None)] * 4 + [(0, 9, 9)])[:2] == (0, 5)


def test_restarts_are_capped(tmp_path):
  ends = [(137, step, step) for step in range(1, 9)]
  code, attempts, messages, _ = supervised(tmp_path, ends)
  assert (code, attempts) == (137, 5)
  assert '--max_restarts=4' in messages[-1]


def test_a_crash_loop_ends_and_its_step_is_named(tmp_path):
  code, attempts, messages, _ = supervised(tmp_path, [(1, 7, 5)] + [(1, 7, None)] * 5)
  assert (code, attempts) == (1, 3)
  assert '3 crashes without a new save, each time after step 7' in messages[-1]
  assert 'the last save is of step 5' in messages[-1]


def test_a_new_save_resets_the_count_of_crashes(tmp_path):
  ends = [(1, 7, 5), (1, 7, None), (1, 12, 10), (1, 12, None), (0, 20, 20)]
  assert supervised(tmp_path, ends)[:2] == (0, 5)


def test_progress_is_read_past_a_partial_line(tmp_path):
  assert supervise.Reached.of(tmp_path) == supervise.Reached(None, None)
  leave(tmp_path, 41, 40)
  leave(tmp_path, None, '50.orbax-checkpoint-tmp')
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 4')
  assert supervise.Reached.of(tmp_path) == supervise.Reached(40, 41)


def test_a_run_hangs_when_its_workdir_does_not_change(tmp_path):
  now = [0.0]
  watch = supervise.Watch(tmp_path, 10.0, clock=lambda: now[0])
  now[0] = 9.0
  leave(tmp_path, 1)
  assert not watch.is_hung()
  now[0] = 18.0
  assert not watch.is_hung()
  leave(tmp_path, saved=2)
  assert not watch.is_hung()
  now[0] = 28.5
  assert watch.is_hung()
  assert not supervise.Watch(tmp_path, 0.0, clock=lambda: now[0]).is_hung()


def started(command):
  environment = os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=0'}
  head = [sys.executable, '-m', 'gpt_jax', 'launch', '--devices_per_process=1']
  head += ['--supervise', '--restart_seconds=0.1', '--stop_seconds=1']
  return subprocess.Popen(
    [*head, *command], env=environment, stderr=subprocess.PIPE, text=True
  )


def next_pids(launcher, output):
  """Returns the process ids of the next start; what came before goes to `output`."""
  for line in launcher.stderr:
    output.append(line)
    if found := re.search(r'launch: process ids ([\d ]+)', line):
      return [int(pid) for pid in found[1].split()]
  raise AssertionError(''.join(output))


def wait_for(condition, seconds=120):
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline, 'waited too long'
    time.sleep(0.02)


@pytest.mark.slow
def test_a_run_that_loses_a_worker_ends_with_the_same_losses(text_file, tmp_path):
  overrides = tiny_runs.TEXT | {
    'data.path': str(text_file), 'train.steps': 60, 'checkpoint.every_steps': 10,
    'eval.every_steps': 0, 'eval.sets': {},
  }  # fmt: skip
  run, output = tmp_path / 'run', []
  launcher = started(
    ['--processes=2', '--', 'train', *tiny_runs.flags(overrides), f'--workdir={run}']
  )
  pids = next_pids(launcher, output)
  wait_for(lambda: (supervise.Reached.of(run).saved or 0) >= 10)
  os.kill(pids[1], signal.SIGKILL)
  output += launcher.communicate(timeout=240)[1].splitlines(keepends=True)
  assert launcher.returncode == 0, ''.join(output)
  assert 'killed by signal 9' in ''.join(output)
  assert 'Restart 1 of at most 10' in ''.join(output)

  loop.train(tiny_runs.tiny_config(overrides), tmp_path / 'one', quiet=True)
  ours, expected = tiny_runs.losses(run), tiny_runs.losses(tmp_path / 'one')
  assert list(ours) == list(expected) == list(range(1, 61))
  tiny_runs.assert_same(ours, expected, rtol=1e-4)
