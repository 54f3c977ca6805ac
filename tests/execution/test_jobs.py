"""Worker processes share the points; one that dies stops no other."""

import os
import signal
import sys
import threading
import time

import pytest

from gpt_jax.execution import jobs, runner
from gpt_jax.sweeps import states
from tests.execution.test_runner import Silent
from tests.sweeps import studies

WORKER = """if True:
  import json, os, signal, sys, time
  def answer(**values):
    print(json.dumps(values), flush=True)
  answer(outcome='ready')
  json.load(open(json.loads(sys.stdin.readline())))  # configs of the study
  for line in sys.stdin:
    task = json.loads(line)
    name = task['name']
    path = os.path.join(sys.argv[1], name.partition(',')[0])
    count = os.path.exists(path)
    open(path, 'a').write('x')
    if name.startswith('dies') or (name.startswith('once') and not count):
      os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith('long'):
      def stop(*_):
        answer(outcome='interrupted')
        os._exit(75)
      signal.signal(signal.SIGTERM, stop)
      time.sleep(60)
    if name.startswith('bad'):
      answer(outcome='failed', why='loss is nan', exit_code=6)
    else:
      answer(outcome='done', why='', exit_code=0)
"""


def sweep(tmp_path, rows, num_jobs=2):
  each = ', '.join(
    f"'{row}': {{'model.d_ff': {8 * (i + 1)}}}" for i, row in enumerate(rows)
  )
  study = studies.study(tmp_path, rows=f'{{{each}}}')
  progress = runner.begin(study.points)
  command = [sys.executable, '-c', WORKER, str(tmp_path)]
  with jobs.Workers(num_jobs, lambda number: command, study.points) as workers:
    runner.run(progress, workers, Silent())
  return study, progress


def test_workers_train_all_points_and_failures_are_theirs(tmp_path):
  _, progress = sweep(tmp_path, ['a', 'bad', 'c', 'd', 'e'])
  assert {name[0] for name in progress.done} == {'a', 'c', 'd', 'e'}
  assert progress.failed['bad,seed=0'].why == 'loss is nan'
  assert progress.exit_code == 6


def test_a_point_whose_worker_dies_is_tried_once_more(tmp_path):
  study, progress = sweep(tmp_path, ['once', 'dies', 'c'])
  assert progress.done == {'once,seed=0', 'c,seed=0'}
  assert (tmp_path / 'dies').read_text() == 'xx'
  state = states.state_of(study.points[1])
  assert state.kind == states.FAILED
  assert 'SIGKILL (out of memory?), 2 times' in state.why


def test_a_signal_makes_all_workers_save_and_end(tmp_path):
  def signal_when_all_are_at_work():
    while not all((tmp_path / name).exists() for name in ('long1', 'long2')):
      time.sleep(0.01)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=signal_when_all_are_at_work).start()
  with pytest.raises(runner.Interrupted):
    sweep(tmp_path, ['long1', 'long2', 'never'])
  assert not (tmp_path / 'never').exists()


def test_workers_share_the_cores(monkeypatch):
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {3, 1, 5, 7}, raising=False)
  assert jobs.shares_of_cores(2) == [(1, 5), (3, 7)]
  assert jobs.shares_of_cores(5) == [()] * 5
