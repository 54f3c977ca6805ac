"""The runs of a file that was renamed are recognised; a copy runs its own."""

import json
import pathlib

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.execution import preflight, renamed
from gpt_jax.sweeps import points, states
from gpt_jax.workdir.paths import Workdir
from tests.execution.test_runner import finish
from tests.sweeps import studies

ROWS = dict(rows="{'a': {}, 'b': {'init_from': FromRow('a')}}")


@pytest.fixture
def study(tmp_path):
  """A Study whose points have run, by a sweep with four words."""
  study = studies.study(tmp_path, **ROWS)
  for point in study.points:
    finish(point.config, point.workdir)
    argv = ['gpt-jax', 'sweep', str(study.path), '--jobs=2']
    Workdir(point.workdir).run.write_text(json.dumps({'starts': [{'argv': argv}]}))
  return study


def opened(study, path):
  return points.open_study(path, workdir=study.folder.parent.parent)


def test_a_renamed_file_is_told_with_the_move_to_make(study):
  moved = opened(study, study.path.rename(study.path.with_name('renamed.py')))
  with pytest.raises(ConfigError) as caught:
    preflight.require_ready(moved, moved.points)
  runs = study.folder.parent
  assert f'mv {runs} {runs.with_name("renamed")}' in str(caught.value)
  runs.rename(runs.with_name('renamed'))
  assert preflight.require_ready(moved, moved.points) == []  # b's origin moved too
  assert all(states.is_done(point) for point in moved.points)


def test_a_copy_in_another_folder_runs_with_a_note(study, tmp_path):
  (tmp_path / 'other').mkdir()
  copy = tmp_path / 'other' / 'copy.py'
  copy.write_text(study.path.read_text())
  (note,) = renamed.require_not_renamed(opened(study, copy))
  assert f'2 of its 2 points are in {study.folder}, run by {study.path}' in note


def test_a_study_that_shares_some_points_is_no_renamed_one(study):
  new = study.path.rename(study.path.with_name('renamed.py'))
  new.write_text(new.read_text().replace("'b': {", "'b': {'model.dropout': 0.1, "))
  (note,) = renamed.require_not_renamed(opened(study, new))
  assert '1 of its 2 points' in note


def test_a_relative_name_in_the_log_is_looked_up_here(study, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  beside = tmp_path / 'other' / study.path.name
  for argv, found in (
    (['sweep', 'study.py'], pathlib.Path('study.py')),
    (['sweep', 'gone/study.py'], pathlib.Path('gone/study.py')),
    (['-c'], beside),
  ):
    workdir = Workdir(study.points[0].workdir)
    workdir.run.write_text(json.dumps({'starts': [{'argv': argv}]}))
    assert renamed._file_of(workdir.path, beside) == found
