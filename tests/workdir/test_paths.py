"""The names of the files of a run's folder."""

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.workdir.paths import Workdir


def test_naming_the_files_touches_nothing(tmp_path):
  run = Workdir(tmp_path / 'run')
  assert run.checkpoints == tmp_path / 'run' / 'checkpoints'
  assert run.metrics.name == 'metrics.jsonl'
  assert not run.path.exists()


def test_an_unwritable_workdir_is_named(tmp_path):
  (tmp_path / 'file').write_text('in the way')
  with pytest.raises(StorageError, match=r'file/run'):
    Workdir(tmp_path / 'file' / 'run').create()


def test_the_config_is_none_before_the_first_run(tmp_path):
  run = Workdir(tmp_path).create()
  assert run.read_config() is None
  run.write_config({'model': {'d_model': 4}, 'layers': (1, 2)})
  assert run.read_config() == {'model': {'d_model': 4}, 'layers': [1, 2]}
