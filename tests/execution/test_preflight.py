"""What stands against a start is told before anything runs, with ways out."""

import pytest

from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.execution import preflight
from gpt_jax.sweeps import points, states
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
  assert '2 of 2 points' in text and '--rerun_changed' in text
  assert states.look(changed.points[0]).kind == states.CHANGED
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
  assert str(place) in note
  assert sorted(p.name for p in place.iterdir()) == ['a,seed=0', 'b,seed=0']
  assert all(states.look(p).kind == states.MISSING for p in changed.points)


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
