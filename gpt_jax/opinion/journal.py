"""Lines that came by HTTP or standard input, on the disk until they are counted.

A sender is told "accepted" once its lines are here; the monitor reads them from here,
as it reads a file, so that neither is lost or counted twice when it is killed. Files of
lines that were counted are removed.
"""

import os
import pathlib
import threading

from gpt_jax.core.errors import StorageError
from gpt_jax.opinion.sources import FileSource
from gpt_jax.workdir import files

SEGMENT_BYTES = 16 << 20
"""A file is closed at this size and a new one begun."""


class Journal:
  """A folder of numbered files: `append` by any thread, `read` by one."""

  def __init__(self, folder, position=None, segment_bytes=SEGMENT_BYTES):
    self._folder = files.check_writable(folder)
    self._segment_bytes = segment_bytes
    self._lock = threading.Lock()
    numbers = self._numbers()
    self._written = numbers[-1] if numbers else 1
    self._number = position['segment'] if position else (numbers or [1])[0]
    self._written = max(self._written, self._number)
    self._source = self._open(position)
    self._mend()
    self.notes = []

  @property
  def position(self):
    return dict(segment=self._number, **self._source.position)

  def append(self, lines):
    """Writes lines, bytes without their ends; they are on the disk when this returns.

    Raises StorageError.
    """
    content = b''.join(line.replace(b'\n', b' ') + b'\n' for line in lines)
    with self._lock:
      path = self._path(self._written)
      try:
        with open(path, 'ab') as file:
          file.write(content)
          file.flush()
          os.fsync(file.fileno())
          size = file.tell()
      except OSError as error:
        raise StorageError(
          f'cannot write {path} ({error.strerror or error}).'
        ) from error
      if size >= self._segment_bytes:
        self._written += 1

  def read(self, limit):
    """Returns at most `limit` (place, line) that have not been read."""
    found = self._source.read(limit)
    if not found and self._number < self._written:
      found = self._source.read(limit)  # of before the next file was begun
      if not found:
        self._number += 1
        self._source = self._open(None)
        found = self._source.read(limit)
    return found

  def committed(self):
    """Removes the files before the position, which has been saved."""
    for number in self._numbers():
      if number < self._number:
        self._path(number).unlink(missing_ok=True)

  def backlog(self):
    """Returns the bytes that have not been read."""
    sizes = [self._path(n).stat().st_size for n in self._numbers() if n >= self._number]
    return max(0, sum(sizes) - int(self._source.position['offset']))

  def _open(self, position):
    kept = position and dict(offset=position['offset'], head=position['head'])
    return FileSource(self._path(self._number), kept, follow=True)

  def _mend(self):
    """Ends a line that a kill left half written: it is no JSON, and counted as bad."""
    path = self._path(self._written)
    if path.is_file() and path.stat().st_size:
      with open(path, 'rb+') as file:
        file.seek(-1, 2)
        if file.read(1) != b'\n':
          file.write(b'\n')

  def _numbers(self):
    names = (path.stem for path in pathlib.Path(self._folder).glob('*.jsonl'))
    return sorted(int(name) for name in names if name.isdigit())

  def _path(self, number):
    return pathlib.Path(self._folder) / f'{number:08d}.jsonl'
