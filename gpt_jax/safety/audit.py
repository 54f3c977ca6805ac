"""An audit log: JSON lines, only appended, each with the hash of the one before.

What is changed, removed from the middle or moved later breaks the chain. The end can be
cut off unseen, and the whole be written anew, unless somebody keeps a hash elsewhere:
`head` is for that.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import threading
import time

from gpt_jax.core.errors import DataError, StorageError

GENESIS = '0' * 64
"""Stands for the hash before the first record."""
MAX_BYTES = 64 << 20
_CLOSED = -1


def encode(record):
  """Returns the line of a record whose `hash` is that of all other fields."""
  body = {name: value for name, value in record.items() if name != 'hash'}
  return _dump(body | {'hash': digest(body)}) + b'\n'


def digest(body):
  """Returns the SHA-256 of a record without its hash, in a form that is unique."""
  return hashlib.sha256(_dump(dict(sorted(body.items())))).hexdigest()


def _dump(value):
  return json.dumps(
    value, ensure_ascii=True, separators=(',', ':'), allow_nan=False, default=str
  ).encode()


class AuditLog:
  """Appends records to a file, each on the disk before `record` returns.

  One process at a time; its threads may write at once. A file of more than `max_bytes`
  is renamed to NAME.000001, NAME.000002, ...; the chain goes on in the next one. A line
  that a crash left unfinished is taken off, and a record says so. Raises StorageError
  where the file cannot be written or another process has it, DataError where its last
  line is no record.
  """

  def __init__(self, path, max_bytes=MAX_BYTES):
    self.path, self._max_bytes = pathlib.Path(path), max_bytes
    self._lock = threading.Lock()
    self._file = _CLOSED
    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      self._owner = open(f'{self.path}.lock', 'wb')
      try:
        fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError as error:
        raise StorageError(
          f'audit log {self.path}: another process writes it; give each its own file.'
        ) from error
      self._open()
    except OSError as error:
      raise StorageError(f'audit log {self.path}: {error}.') from error

  @property
  def head(self):
    """The hash of the last record: who keeps it elsewhere can tell that it is there."""
    return self._head

  def record(self, entry):
    """Appends a dict of plain JSON values; returns its hash."""
    with self._lock:
      try:
        if self._size > self._max_bytes:
          self._rotate()
        return self._append(entry)
      except OSError as error:
        raise StorageError(f'audit log {self.path}: {error}.') from error

  def close(self):
    """Closes the file; another process may write it then."""
    with self._lock:
      if self._file != _CLOSED:
        os.close(self._file)
        self._file = _CLOSED
        self._owner.close()

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.close()

  def _append(self, entry):
    if self._file == _CLOSED:
      raise StorageError(f'audit log {self.path}: is closed.')
    kept = {'number': self._number + 1, 'previous': self._head}
    line = encode({'time': time.time()} | entry | kept)
    written = 0
    try:
      while written < len(line):
        written += os.write(self._file, line[written:])
      os.fsync(self._file)
    except OSError:
      os.ftruncate(self._file, self._size)  # a full disk leaves no half of a line
      raise
    self._size += len(line)
    self._number, self._head = kept['number'], json.loads(line)['hash']
    return self._head

  def _open(self):
    """Opens the file at its end, without an unfinished line."""
    self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    self._size = os.fstat(self._file).st_size
    tail = self._tail()
    whole, newline, rest = tail.rpartition(b'\n')
    if rest:
      self._size -= len(rest)
      os.ftruncate(self._file, self._size)
      os.fsync(self._file)
    self._number, self._head = self._last(
      whole.rpartition(b'\n')[2] if newline else b''
    )
    if rest:
      sha256 = hashlib.sha256(rest).hexdigest()
      self._append({'event': 'repaired', 'bytes': len(rest), 'sha256': sha256})

  def _tail(self):
    """Returns the last lines, at least one whole one if there is."""
    count = 1 << 16
    while True:
      start = max(0, self._size - count)
      tail = os.pread(self._file, self._size - start, start)
      if start == 0 or tail.count(b'\n') > 1:
        return tail
      count *= 2

  def _last(self, line):
    """Returns (number, hash) of the last record, here or in the file before."""
    if not line:
      before = parts(self.path)
      if not before:
        return 0, GENESIS
      line = before[-1].read_bytes().rstrip(b'\n').rpartition(b'\n')[2]
    try:
      record = json.loads(line)
      return int(record['number']), str(record['hash'])
    except (ValueError, KeyError, TypeError) as error:
      raise DataError(
        f'audit log {self.path}: its last line is no record: look at it with gpt-jax'
        ' audit verify, and move the file away to begin a new one.'
      ) from error

  def _rotate(self):
    before = parts(self.path)
    number = int(before[-1].suffix[1:]) + 1 if before else 1
    os.close(self._file)
    self._file = _CLOSED
    self.path.rename(f'{self.path}.{number:06d}')
    self._open()
    _sync_folder(self.path.parent)


def parts(path):
  """Returns the files that were rotated away from `path`, oldest first."""
  path = pathlib.Path(path)
  found = [
    each
    for each in path.parent.glob(f'{path.name}.*')
    if len(each.suffix) == 7 and each.suffix[1:].isdigit()
  ]
  return sorted(found)


def _sync_folder(folder):
  number = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(number)
  finally:
    os.close(number)
