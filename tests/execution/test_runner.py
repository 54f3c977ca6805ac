"""A sweep runs what is missing, goes on after failures, and shares its points."""

import json
import shutil

import pytest

from gpt_jax.core.errors import Interrupted
from gpt_jax.execution import attempt, preflight, runner
from gpt_jax.sweeps import points, states
from gpt_jax.workdir import lock
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.sweeps import studies


class Silent:
  def started(self, point):
    pass

  def ended(self, point, outcome):
    pass

  def waiting(self):
    pass


def sweep(study, executor=None, **options):
  progress = runner.begin(study.points)
  runner.run(progress, executor or runner.InProcess(), Silent(), **options)
  return progress


@pytest.fixture
def trained(monkeypatch):
  """Returns the names of trained points; the training itself is made up."""
  names = []

  def train(config, workdir, **options):
    workdir = Workdir(workdir).create()
    names.append(workdir.path.name)
    finish(config, workdir)

  monkeypatch.setattr(attempt.loop, 'train', train)
  return names


def finish(config, workdir):
  """Leaves in `workdir` what a finished run leaves there, as far as a sweep looks."""
  workdir = Workdir(workdir)
  steps = states.total_steps(config)
  (workdir.checkpoints / str(steps)).mkdir(parents=True)
  workdir.write_config(states.load.to_dict(config))
  workdir.eval.write_text(json.dumps({'validation': {'loss': 1.0}, 'step': steps}))


ROWS = dict(rows="{'a': {}, 'b': {'model.num_layers': 2}, 'c': {'model.d_ff': 8}}")


def test_what_is_done_is_not_run_again(tmp_path, trained):
  study = studies.study(tmp_path, **ROWS)
  finish(study.points[1].config, study.points[1].workdir)
  assert sweep(study).exit_code == 0
  assert trained == ['a,seed=0', 'c,seed=0']
  sweep(study)
  assert trained == ['a,seed=0', 'c,seed=0']


def test_a_failed_point_stops_no_other_and_is_tried_again(
  tmp_path, trained, monkeypatch
):
  study = studies.study(tmp_path, **ROWS)
  train = attempt.loop.train

  def fail(config, workdir, **options):
    if config.model.num_layers == 2:
      raise KeyError('why')
    train(config, workdir, **options)

  monkeypatch.setattr(attempt.loop, 'train', fail)
  progress = sweep(study)
  assert trained == ['a,seed=0', 'c,seed=0']
  assert progress.exit_code == 1
  assert states.state_of(study.points[1]) == states.State(
    states.FAILED, "KeyError: 'why'"
  )
  monkeypatch.setattr(attempt.loop, 'train', train)
  assert sweep(study).exit_code == 0
  assert states.state_of(study.points[1]).kind == states.DONE


def test_what_needs_a_failed_point_is_not_run(tmp_path, trained, monkeypatch):
  study = studies.study(
    tmp_path, rows="{'a': {}, 'b': {'init_from': FromRow('a')}, 'c': {'seed': 5}}"
  )

  def fail(config, workdir, **options):
    raise ValueError('no')

  monkeypatch.setattr(attempt.loop, 'train', fail)
  progress = sweep(study)
  assert 'b,seed=0' not in progress.failed
  assert progress.blocked() == {'b,seed=0': 'a,seed=0'}


def test_a_point_of_another_process_is_waited_for(tmp_path, trained):
  study = studies.study(tmp_path, **ROWS)
  other = study.points[0]
  other.workdir.mkdir(parents=True)
  holding = lock.held(other.workdir)
  holding.__enter__()

  def sleep(seconds):  # the other process ends its point meanwhile
    finish(other.config, other.workdir)
    holding.__exit__(None, None, None)

  assert sweep(study, sleep=sleep).done == {p.name for p in study.points}
  assert trained == ['b,seed=0', 'c,seed=0']


def test_a_failure_of_another_process_is_not_tried_again(tmp_path, trained):
  study = studies.study(tmp_path, **ROWS)
  before, during, _ = study.points
  states.write_failure(before, 'of a clock that is ahead', 6, time=1e12)
  progress = runner.begin(study.points)
  states.write_failure(during, 'of a clock that is behind', 6, time=1.0)
  runner.run(progress, runner.InProcess(), Silent())
  assert trained == ['a,seed=0', 'c,seed=0']
  assert progress.failed[during.name].why == 'of a clock that is behind'


def test_a_killed_processs_point_is_taken_over(tmp_path, trained):
  study = studies.study(tmp_path, **ROWS)
  other = study.points[0].workdir
  other.mkdir(parents=True)
  with lock.held(other):
    dead = json.loads((other / lock.FILE).read_text())
  (other / lock.FILE).write_text(json.dumps(dead | {'born': '1'}))
  sweep(study)
  assert len(trained) == 3


def test_a_signal_ends_the_sweep(tmp_path, monkeypatch):
  def stop(config, workdir, **options):
    raise Interrupted('SIGTERM')

  monkeypatch.setattr(attempt.loop, 'train', stop)
  with pytest.raises(Interrupted):
    sweep(studies.study(tmp_path))


def test_a_signal_at_the_end_of_a_training_is_not_lost(tmp_path, monkeypatch):
  def train(config, workdir, *, signals, **options):
    finish(config, workdir)
    signals.signal = 'SIGTERM'

  monkeypatch.setattr(attempt.loop, 'train', train)
  study = studies.study(tmp_path, **ROWS)
  with pytest.raises(Interrupted, match='1 of 3 points are done'):
    sweep(study)


@pytest.mark.slow
def test_a_point_is_trained_as_it_would_be_alone(tmp_path):
  study = studies.study(tmp_path)
  assert sweep(study).exit_code == 0
  (point,) = study.points
  tiny_runs.loop.train(point.config, tmp_path / 'alone', quiet=True)
  assert tiny_runs.losses(point.workdir) == tiny_runs.losses(tmp_path / 'alone')
  assert 'fresh parameters' in (point.workdir / 'logs' / attempt.LOG).read_text()
  assert preflight.require_ready(study, study.points) == []
  shutil.rmtree(point.workdir / 'checkpoints' / '4')  # killed before its last save
  assert states.state_of(point).kind == states.STARTED
  sweep(study)
  assert tiny_runs.start_steps(point.workdir) == [0, 2]
  assert states.state_of(point).kind == states.DONE


def test_only_some_points_may_be_run(tmp_path, trained):
  study = studies.study(tmp_path, **ROWS)
  progress = runner.begin(points.select(study, ['b']))
  runner.run(progress, runner.InProcess(), Silent())
  assert trained == ['b,seed=0']
