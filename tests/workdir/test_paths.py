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


def test_a_folder_of_other_files_is_not_filled(tmp_path):
  (tmp_path / 'thesis.tex').write_text('mine')
  (tmp_path / 'cache').mkdir()
  with pytest.raises(StorageError, match=r'holds thesis.tex, but no run.*new one'):
    Workdir(tmp_path).create()
  assert sorted(path.name for path in tmp_path.iterdir()) == ['cache', 'thesis.tex']


def test_what_an_interrupted_start_left_is_a_run_s(tmp_path):
  for name in ('run.json', 'lock.json', '.nfs001', '.run.json.ab.tmp'):
    (tmp_path / name).touch()
  for name in ('tokenizer.12-ab', 'cache', 'logs', 'lost+found'):
    (tmp_path / name).mkdir()
  Workdir(tmp_path).create()
  (tmp_path / 'config.json').write_text('{}')
  (tmp_path / 'notes.txt').touch()  # beside a run anything may stand
  Workdir(tmp_path).create()


def test_the_config_is_none_before_the_first_run(tmp_path):
  run = Workdir(tmp_path).create()
  assert run.read_config() is None
  run.write_config({'model': {'d_model': 4}, 'layers': (1, 2)})
  read = run.read_config()
  assert (read['model']['d_model'], read['layers']) == (4, [1, 2])
