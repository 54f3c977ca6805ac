"""Lines that find no room wait; what cannot be mended is an error."""

import errno

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.tracking import append_file


class Disk:
  """A file that takes `room` more bytes and then raises `error`."""

  def __init__(self, room, error=errno.ENOSPC):
    self.room, self.error, self.content = room, error, b''

  def write(self, content):
    if not self.room:
      raise OSError(self.error, 'no room')
    taken = bytes(content[: self.room])
    self.room -= len(taken)
    self.content += taken
    return len(taken)

  def close(self):
    pass


@pytest.fixture
def file(tmp_path):
  return append_file.Appender(tmp_path / 'new' / 'lines')


def test_appends_are_there_at_once_and_after_what_was_there(tmp_path):
  for text in (b'one\n', b'two\n'):
    file = append_file.Appender(tmp_path / 'lines')
    file.append(text)
    assert (tmp_path / 'lines').read_bytes().endswith(text)
    file.close()
  assert (tmp_path / 'lines').read_bytes() == b'one\ntwo\n'


def test_what_finds_no_room_is_written_first_when_there_is_some(file, capsys):
  file._file = disk = Disk(6)
  for line in (b'one\n', b'two\n', b'three\n'):
    file.append(line)
  assert disk.content == b'one\ntw'
  assert capsys.readouterr().err.count('waits in memory') == 1
  disk.room = 100
  file.append(b'four\n')
  assert disk.content == b'one\ntwo\nthree\nfour\n'
  file.close()


def test_what_is_left_at_the_end_or_too_much_is_an_error(file, monkeypatch):
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
