"""A worker trains what it is told, and says what became of it."""

import io
import json

from gpt_jax.core.errors import Interrupted
from gpt_jax.execution import attempt, worker
from gpt_jax.sweeps import states
from tests.sweeps import studies


def serve(monkeypatch, points, train):
  monkeypatch.setattr(worker.attempt, 'attempt', train)
  monkeypatch.setattr(worker.os, 'kill', lambda *_: None)
  answers = io.StringIO()
  tasks = io.StringIO(''.join(map(worker.as_task, points)))
  code = worker.serve(tasks, answers)
  return code, [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_task_names_a_point_in_full(tmp_path, monkeypatch):
  study = studies.study(tmp_path, rows="{'a': {}, 'b': {'init_from': FromRow('a')}}")
  seen = []

  def train(point, open_program):
    seen.append((point.name, point.workdir, point.needs, point.config))
    return attempt.Outcome(states.DONE)

  code, answers = serve(monkeypatch, study.points, train)
  assert seen == [(p.name, p.workdir, p.needs, p.config) for p in study.points]
  assert (code, [one['outcome'] for one in answers]) == (0, ['ready', 'done', 'done'])


def test_a_signal_ends_a_worker_with_its_exit_code(tmp_path, monkeypatch):
  def train(point, open_program):
    raise Interrupted('SIGTERM')

  code, answers = serve(monkeypatch, studies.study(tmp_path).points, train)
  assert (code, answers[-1]['outcome']) == (75, worker.INTERRUPTED)
