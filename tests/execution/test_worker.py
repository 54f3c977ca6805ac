"""A worker trains what it is told, and says what became of it."""

import io
import json
import pathlib

from gpt_jax.core.errors import Interrupted
from gpt_jax.execution import attempt, worker
from gpt_jax.program import variants
from gpt_jax.sweeps import states
from tests.sweeps import studies


def serve(monkeypatch, tmp_path, points, train):
  monkeypatch.setattr(worker.attempt, 'attempt', train)
  monkeypatch.setattr(worker.os, 'kill', lambda *_: None)
  answers = io.StringIO()
  with open(tmp_path / 'configs.json', 'wb') as file:
    worker.write_configs(points, file)
  first = json.dumps(file.name) + '\n'
  tasks = io.StringIO(first + ''.join(map(worker.as_task, points)))
  code = worker.serve(tasks, answers)
  return code, [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_task_names_a_point_in_full(tmp_path, monkeypatch):
  study = studies.study(tmp_path, rows="{'a': {}, 'b': {'init_from': FromRow('a')}}")
  seen = []

  def train(point, open_program):
    seen.append((point.name, point.workdir, point.needs, point.config))
    return attempt.Attempt(states.DONE)

  code, answers = serve(monkeypatch, tmp_path, study.points, train)
  assert seen == [(p.name, p.workdir, p.needs, p.config) for p in study.points]
  assert (code, [one['outcome'] for one in answers]) == (0, ['ready', 'done', 'done'])


def test_a_signal_ends_a_worker_with_its_exit_code(tmp_path, monkeypatch):
  def train(point, open_program):
    raise Interrupted('SIGTERM')

  code, answers = serve(monkeypatch, tmp_path, studies.study(tmp_path).points, train)
  assert (code, answers[-1]['outcome']) == (75, worker.INTERRUPTED)


def test_workers_share_programs_by_the_configs_of_the_study(tmp_path):
  rows = "{'a': {'optimizer.learning_rate': 0.1}, 'b': {'model.d_model': 16}}"
  points = studies.study(tmp_path, rows=rows, seeds='(0, 1)').points
  path = pathlib.Path(tmp_path / 'configs.json')
  with open(path, 'wb') as file:
    worker.write_configs(points, file)
  assert len(json.loads(path.read_text())) == 2  # of 4 points: seeds aside
  here = variants.by_shape(point.config for point in points)
  there = variants.by_shape(worker.read_configs(path))
  assert {shape: list(group) for shape, group in here.items()} == {
    shape: list(group) for shape, group in there.items()
  }
