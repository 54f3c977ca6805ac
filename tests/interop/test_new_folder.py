"""Folders for others are whole or absent."""

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.interop.new_folder import new_folder


def test_a_folder_appears_at_the_end(tmp_path):
  out = tmp_path / 'a' / 'out'
  with new_folder(out) as scratch:
    (scratch / 'file').write_text('x')
    assert not out.exists()
  assert [path.name for path in out.iterdir()] == ['file']
  assert list(out.parent.iterdir()) == [out]


def test_nothing_is_left_of_a_failure(tmp_path):
  with pytest.raises(ValueError), new_folder(tmp_path / 'out') as scratch:
    (scratch / 'file').write_text('x')
    raise ValueError
  assert list(tmp_path.iterdir()) == []


def test_folders_with_files_are_refused(tmp_path):
  (tmp_path / 'file').write_text('x')
  with pytest.raises(StorageError, match='is there already'), new_folder(tmp_path):
    pass


def test_what_the_disk_says_is_said(tmp_path):
  (tmp_path / 'file').write_text('x')
  with pytest.raises(StorageError, match='cannot be written'):
    with new_folder(tmp_path / 'file' / 'out'):
      pass
