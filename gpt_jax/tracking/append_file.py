"""Files that grow line by line; a full disk delays their lines and ends no run."""

import contextlib
import errno
import pathlib
import sys

from gpt_jax.core.errors import StorageError

# Disk full, quota used up, file too large: can be fixed while the run continues.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MAX_WAITING_BYTES = 1 << 26


class Appender:
  """Appends to `path`; while its disk is full, content waits in memory, in order.

  Raises StorageError for other failures, when too much waits, and when `close` cannot
  write the rest.
  """

  def __init__(self, path):
    self._path, self._waiting, self._is_full = pathlib.Path(path), bytearray(), False
    with self._storage_errors():
      self._path.parent.mkdir(parents=True, exist_ok=True)
      self._file = open(self._path, 'ab', buffering=0)

  def append(self, content):
    """Appends bytes, which readers of the file see at once."""
    self._waiting += content
    try:
      self._drain()
      self._is_full = False
    except OSError as error:
      if error.errno not in FULL or len(self._waiting) > MAX_WAITING_BYTES:
        raise self._failed(error) from error
      if not self._is_full:
        _say(f'{self._path}: {error.strerror}; what follows waits in memory for space.')
      self._is_full = True

  def flush(self):
    """Does nothing: what is appended is on the disk, or waits for space there."""

  def close(self):
    try:
      with self._storage_errors():
        self._drain()
    finally:
      self._file.close()

  def _drain(self):
    while self._waiting:
      del self._waiting[: self._file.write(self._waiting)]

  @contextlib.contextmanager
  def _storage_errors(self):
    try:
      yield
    except OSError as error:
      raise self._failed(error) from error

  def _failed(self, error):
    return StorageError(
      f'cannot write {self._path} ({error.strerror or error}),'
      f' {len(self._waiting)} bytes of it are lost; expected a folder that can be'
      ' written, with space on its disk.'
    )


def _say(text):
  with contextlib.suppress(OSError):  # standard error may go to the same disk
    print(text, file=sys.stderr)
