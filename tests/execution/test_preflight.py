"""What stands against a start is told before anything runs, with ways out."""

import json

import pytest

from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.execution import preflight
from gpt_jax.sweeps import points, states
from gpt_jax.workdir import lock
from tests.execution.test_runner import finish
from tests.sweeps import studies

ROWS = dict(rows="{'a': {}, 'b': {'init_from': FromRow('a')}}")


@pytest.fixture
def study(tmp_path):
  study = studies.study(tmp_path, **ROWS)
  for point in study.points:
    finish(point.config, point.workdir)
  return study


def reopened(study, old, new):
  study.path.write_text(study.path.read_text().replace(old, new))
  return points.open_study(study.path, workdir=study.folder.parent.parent)


@pytest.mark.parametrize(
  'old, new',
  [("'train.steps': 4", "'train.steps': 6"), ("_rate': 0.01", "_rate': 0.02")],
)
def test_a_changed_file_is_told_by_field(study, old, new):
  changed = reopened(study, old, new)
  with pytest.raises(CheckpointError) as caught:
    preflight.require_ready(changed, changed.points)
  text = str(caught.value)
  field = (old.split("'")[1] if old[0] == "'" else 'optimizer.learning_rate') + ': '
  assert f'{field}{old.split()[-1]} -> {new.split()[-1]} (a,seed=0, b,seed=0)' in text
  line = next(i for i, one in enumerate(study.path.open(), 1) if field[:-2] in one)
  assert f'study.py:{line}: {field}' in text
  assert '2 of 2 points' in text and '--rerun_changed' in text
  assert states.state_of(changed.points[0]).kind == states.CHANGED
  assert not states.is_done(changed.points[0])


@pytest.mark.parametrize(
  'old, new',
  [
    ("every_steps': 2", "every_steps': 3"),
    ("'logging.every_steps': 1", "'logging.every_steps': 2"),
  ],
)
def test_what_changes_no_result_is_no_change(study, old, new):
  changed = reopened(study, old, new)
  assert preflight.require_ready(changed, changed.points) == []
  assert all(states.is_done(point) for point in changed.points)


def test_changed_points_and_what_needs_them_are_moved_away(study):
  changed = reopened(study, "'a': {}", "'a': {'model.d_ff': 8}")
  (note,) = preflight.require_ready(changed, changed.points, rerun_changed=True)
  (place,) = study.folder.glob('before-*')
  assert str(place) in note and not list(place.glob('*/lock.json'))
  assert sorted(p.name for p in place.iterdir()) == ['a,seed=0', 'b,seed=0']
  assert all(states.state_of(p).kind == states.MISSING for p in changed.points)


def begun(point, time, **sources):
  """Writes down when the run of `point` began, and when those that it reads did."""
  paths = {str(point.workdir.with_name(n)): when for n, when in sources.items()}
  entry = {'time': time} | ({'sources': paths} if paths else {})
  (point.workdir / 'run.json').write_text(json.dumps({'starts': [entry]}))


def test_all_that_need_a_changed_point_move_with_it(study):
  changed = reopened(study, "'a': {}", "'a': {'model.d_ff': 8}")
  chosen = points.select(changed, ['a'])
  (note,) = preflight.require_ready(changed, chosen, rerun_changed=True)
  assert 'have to run again, too: b,seed=0' in note
  assert all(states.state_of(p).kind == states.MISSING for p in changed.points)


def test_points_of_a_source_that_ran_again_are_told(tmp_path):
  rows = "{'a': {}, 'b': {'init_from': FromRow('a')}, 'c': {'init_from': FromRow('b')}}"
  study = studies.study(tmp_path, rows=rows)
  for point in study.points:
    finish(point.config, point.workdir)
  a, b, c = study.points
  begun(a, '9:00')
  begun(b, '9:10', **{a.name: '9:00'})
  begun(c, '9:20', **{b.name: '9:10'})
  assert preflight.require_ready(study, study.points) == []
  begun(a, '9:30')
  assert [states.is_done(point) for point in study.points] == [True, False, False]
  with pytest.raises(CheckpointError) as caught:
    preflight.require_ready(study, study.points)
  assert "run of a,seed=0: '9:00' -> '9:30' (b,seed=0, c,seed=0)" in str(caught.value)
  preflight.require_ready(study, study.points, rerun_changed=True)
  kinds = [states.state_of(point).kind for point in study.points]
  assert kinds == [states.DONE, states.MISSING, states.MISSING]


def test_a_folder_is_not_moved_beneath_a_process(study):
  changed = reopened(study, "'a': {}", "'a': {'model.d_ff': 8}")
  chosen = points.select(changed, ['a'])
  with lock.held(changed.points[1].workdir):
    with pytest.raises(CheckpointError, match='at work in b,seed=0'):
      preflight.require_ready(changed, chosen, rerun_changed=True)
  assert all(point.workdir.exists() for point in changed.points)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
  (tmp_path / 'runs').write_text('a file')
  study = studies.study(tmp_path)
  with pytest.raises(StorageError, match='cannot write in'):
    preflight.require_ready(study, study.points)
  assert not study.folder.exists()


def test_all_folders_that_cannot_be_written_are_told_once(tmp_path):
  study = studies.study(tmp_path, rows="{'a': {}, 'b': {}}", seeds='(0, 1)')
  study.folder.mkdir(parents=True)
  for point in study.points:
    point.workdir.write_text('a file')
  with pytest.raises(StorageError) as caught:
    preflight.require_ready(study, study.points)
  assert str(caught.value).count('Not a directory') == len(study.points) == 2


def test_a_folder_that_only_looks_writable_is_told(study, monkeypatch):
  monkeypatch.setattr(preflight.files, 'check_writable_early', lambda folder: None)
  nowhere = studies.points.open_study(study.path, workdir='/proc/gpt_jax')
  with pytest.raises(StorageError, match='cannot write in /proc'):
    preflight.require_ready(nowhere, nowhere.points)
