"""Files are written whole or not at all; folders are checked to be writable."""

import json
import os
import resource

import pytest

from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.workdir import files
from gpt_jax.workdir.paths import Workdir


def test_the_check_creates_the_folder_and_leaves_it_empty(tmp_path):
  folder = files.check_writable(tmp_path / 'a' / 'b')
  assert folder.is_dir()
  assert list(folder.iterdir()) == []


def test_a_process_killed_in_the_check_leaves_nothing(tmp_path, monkeypatch):
  seen = []
  monkeypatch.setattr(os, 'fsync', lambda _: seen.append(os.listdir(tmp_path)))
  files.check_writable(tmp_path)
  assert seen == [[]]


def test_a_folder_that_cannot_be_created_is_named_with_a_remedy(tmp_path):
  (tmp_path / 'file').write_text('in the way')
  with pytest.raises(StorageError, match=r'file/run.*another folder') as error:
    files.check_writable(tmp_path / 'file' / 'run')
  assert error.value.exit_code == 5


@pytest.mark.parametrize(
  'name, remedy',
  [
    ('', 'such as runs/tiny'),
    (' ', 'such as runs/tiny'),
    ('gs:/bucket/run', 'gs://bucket/run'),  # pathlib's spelling of it
    ('hdfs://host:9000/run', 'mount'),
    ('http://host/run', 'mount'),
    ('file:///data/run', 'the path alone, /data/run'),
    ('a\0b', 'zero byte'),
    ('~nobody-here/run', 'whole path'),
  ],
)
def test_what_names_no_folder_is_refused_with_a_remedy(
  name, remedy, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  for check in (files.check_writable, files.check_writable_early, Workdir):
    with pytest.raises(ConfigError) as error:
      check(name)
    assert repr(name)[1:-1] in str(error.value) and remedy in str(error.value)
  assert not list(tmp_path.iterdir())


def test_a_colon_in_the_name_of_a_folder_is_no_url(tmp_path):
  assert files.as_folder(tmp_path / 'a:b' / 'lr:0.1').name == 'lr:0.1'


@pytest.mark.parametrize(
  'name, reason',
  [('/s3/run', 'bucket'), ('a\\b', 'backslash'), ('a\udce9', 'in UTF-8')],
)
@pytest.mark.parametrize('check', [files.check_writable, files.check_writable_early])
def test_a_folder_taken_for_another_is_refused_by_name(tmp_path, check, name, reason):
  with pytest.raises(StorageError, match=f'{reason}.* symbolic link') as error:
    check(tmp_path / name)
  assert repr(name)[1:-1] in str(error.value) and list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk():
  """Lets no file grow past 1000 bytes."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
  yield
  resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_noticed_by_the_check(tmp_path, full_disk):
  with pytest.raises(StorageError, match='cannot write in'):
    files.check_writable(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, full_disk):
  path = tmp_path / 'run.json'
  files.write_json(path, [1])
  with pytest.raises(StorageError, match='run.json'):
    files.write_json(path, list(range(1000)))
  assert files.read_json(path) == [1]
  assert os.listdir(tmp_path) == ['run.json']


def test_json_is_read_as_it_was_written(tmp_path):
  value = {'a': [1, 2.5, None, True], 'ü': {'nested': 'text'}}
  files.write_json(tmp_path / 'x.json', value)
  assert files.read_json(tmp_path / 'x.json') == value


def test_nan_is_refused_before_the_file_is_touched(tmp_path):
  with pytest.raises(ValueError):
    files.write_json(tmp_path / 'x.json', {'loss': float('nan')})
  assert list(tmp_path.iterdir()) == []


def test_a_damaged_json_file_is_named(tmp_path):
  (tmp_path / 'x.json').write_text(json.dumps([1])[:-1])
  with pytest.raises(StorageError, match=r'x\.json is not valid JSON'):
    files.read_json(tmp_path / 'x.json')


def test_free_space_is_unknown_for_a_missing_folder(tmp_path):
  assert files.free_megabytes(tmp_path).endswith(' MB')
  assert files.free_megabytes(tmp_path / 'nowhere') == 'unknown'


def test_the_early_check_refuses_and_creates_nothing(tmp_path, monkeypatch):
  files.check_writable_early(tmp_path / 'new' / 'run')
  assert list(tmp_path.iterdir()) == []
  (tmp_path / 'file').write_text('')
  with pytest.raises(StorageError, match='Not a directory'):
    files.check_writable_early(tmp_path / 'file' / 'run')
  monkeypatch.setattr(os, 'access', lambda *_: False)  # root may write anywhere
  with pytest.raises(StorageError, match=f'run.*Permission denied: {tmp_path}'):
    files.check_writable_early(tmp_path / 'run')
