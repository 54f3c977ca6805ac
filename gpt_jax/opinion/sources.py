"""Where lines come from: a file that is finished or grows, read from a position on."""

import hashlib
import pathlib

from gpt_jax.core.errors import DataError
from gpt_jax.opinion.events import MAX_BYTES

HEAD = 1024
"""Bytes at the start of a file by which it is recognized."""


class FileSource:
  """Whole lines of a file. `position` is plain values, to be saved with the counts."""

  def __init__(self, path, position=None, *, follow=False):
    """Reads from `position` on, or from the start.

    Raises DataError for a file that is not there, unless it is followed.
    """
    self.path, self._follow = pathlib.Path(path), follow
    self._offset, self._head = 0, ''
    self.notes = []
    if not follow and not self.path.is_file():
      raise DataError(f'--input={path}: no such file; expected a file of JSON lines.')
    if position is not None:
      self._offset, self._head = position['offset'], position['head']

  @property
  def position(self):
    return dict(offset=self._offset, head=self._head)

  def read(self, limit):
    """Returns at most `limit` (place, line) that have not been read; [] for none now.

    A last line without an end is read once the file is not followed. A file that was
    replaced (another start, or shorter) is read from its start; `notes` say so.
    """
    try:
      with open(self.path, 'rb') as file:
        self._recognize(file)
        return self._lines(file, limit)
    except FileNotFoundError:  # between two files of a rotation
      return []
    except OSError as error:
      raise DataError(f'--input={self.path}: cannot be read: {error}') from error

  def committed(self):
    """Is told that `position` has been saved."""

  def _recognize(self, file):
    size, digest = self._head.split(':') if self._head else (0, '')
    start = file.read(int(size))
    length = file.seek(0, 2)
    is_same = len(start) == int(size) and _digest(start) == digest
    if self._head and (not is_same or length < self._offset):
      self.notes.append(f'{self.path}: is another file now; it is read from its start')
      self._offset, self._head = 0, ''
    if not self._head.startswith(f'{HEAD}:') and length:
      file.seek(0)
      start = file.read(HEAD)
      self._head = f'{len(start)}:{_digest(start)}'

  def _lines(self, file, limit):
    file.seek(self._offset)
    found = []
    while len(found) < limit:
      start = self._offset
      line = file.readline(MAX_BYTES + 1)
      is_whole = line.endswith(b'\n')
      if not is_whole and len(line) > MAX_BYTES:  # only its start is kept
        while (rest := file.readline(MAX_BYTES)) and not rest.endswith(b'\n'):
          pass
        is_whole = rest.endswith(b'\n')
      if not line or (not is_whole and self._follow):
        break
      self._offset = file.tell()
      if line.strip():
        found.append((f'{self.path.name}, byte {start}', line.rstrip(b'\r\n')))
    return found


def _digest(content):
  return hashlib.sha256(content).hexdigest()[:16]
