"""Lines wait while the disk is full; other failures are errors."""

import errno

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.tracking import append_file


class Disk:
  """A file that takes `free` more bytes and then raises `error`."""

  def __init__(self, free, error=errno.ENOSPC):
    self.free, self.error, self.content = free, error, b''

  def write(self, content):
    if not self.free:
      raise OSError(self.error, 'failed')
    taken = bytes(content[: self.free])
    self.free -= len(taken)
    self.content += taken
    return len(taken)

  def close(self):
    pass


@pytest.fixture
def file(tmp_path):
  return append_file.Appender(tmp_path / 'new' / 'lines')


def test_appended_bytes_are_visible_at_once_after_earlier_ones(tmp_path):
  for text in (b'one\n', b'two\n'):
    file = append_file.Appender(tmp_path / 'lines')
    file.append(text)
    assert (tmp_path / 'lines').read_bytes().endswith(text)
    file.close()
  assert (tmp_path / 'lines').read_bytes() == b'one\ntwo\n'


def test_lines_wait_while_the_disk_is_full_and_keep_their_order(file, capsys):
  file._file = disk = Disk(6)
  for line in (b'one\n', b'two\n', b'three\n'):
    file.append(line)
  assert disk.content == b'one\ntw'
  assert capsys.readouterr().err.count('waits in memory') == 1
  disk.free = 100
  file.append(b'four\n')
  assert disk.content == b'one\ntwo\nthree\nfour\n'
  file.close()


def test_unwritten_bytes_at_the_end_or_too_many_are_an_error(file, monkeypatch):
  file._file = Disk(0)
  file.append(b'one\n')
  with pytest.raises(StorageError, match='lines.*4 bytes of it are lost'):
    file.close()
  monkeypatch.setattr(append_file, 'MAX_WAITING_BYTES', 6)
  with pytest.raises(StorageError):
    file.append(b'two\n')


def test_a_broken_disk_is_an_error_at_once(file):
  file._file = Disk(0, errno.EIO)
  with pytest.raises(StorageError, match='lines'):
    file.append(b'one\n')
