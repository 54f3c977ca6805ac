"""What grows line by line, in a bucket, where nothing can be appended.

The lines of some seconds become an object: the newest part is written again, whole, as
it grows, and left alone once it has PART_BYTES. A SIGKILL loses what came after the
last flush. Parts lie in a folder with the name that the file has elsewhere.
"""

import os
import re
import sys
import threading

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import bucket_paths, objects
from gpt_jax.storage.places import place

FLUSH_SECONDS = 10.0
PART_BYTES = 1 << 18  # written again at each flush until it is full
MAX_WAITING_BYTES = 1 << 26
_PART = re.compile(r'(\d{4})-(\d{6})\.\w+')


class Growing:
  """Appends to objects called `name(part)` in `folder`, in the background.

  `header` begins each part; `content` is the first part, written before this returns.
  While the bucket does not answer, content waits in memory.
  """

  def __init__(self, folder, name, header=b'', content=b''):
    self._folder, self._name, self._header = place(folder), name, header
    self._number, self._part, self._full = 0, bytearray(header + content), []
    self._is_changed, self._is_failing = bool(content), False
    self._lock, self._writing = threading.Lock(), threading.Lock()
    self._end = threading.Event()
    if content:
      self.flush()
    self._thread = threading.Thread(target=self._flush_often, daemon=True)
    self._thread.start()

  def append(self, content):
    """Appends bytes, which readers see after the next flush.

    Raises StorageError once too much waits for a bucket that does not answer.
    """
    with self._lock:
      if len(self._part) >= PART_BYTES:
        self._full.append((self._number, bytes(self._part)))
        self._number, self._part = self._number + 1, bytearray(self._header)
      self._part += content
      self._is_changed = True
      waiting = sum(len(part) for _, part in self._full)
    if waiting > MAX_WAITING_BYTES:
      raise StorageError(
        f'{self._folder}: {waiting} bytes wait in memory for a bucket that does not'
        ' answer; they are lost.'
      )

  def flush(self):
    """Returns once all that was appended is in the bucket; or StorageError."""
    with self._writing:
      with self._lock:
        parts, self._full = self._full, []
        if self._is_changed:
          parts = [*parts, (self._number, bytes(self._part))]
        self._is_changed = False
      for index, (number, part) in enumerate(parts):
        try:
          bucket_paths.write(self._folder / self._name(number), part)
        except StorageError:
          with self._lock:
            left = parts[index:]
            self._full = [each for each in left if each[0] != self._number] + self._full
            self._is_changed = True
          raise

  def close(self):
    self._end.set()
    self._thread.join()
    self.flush()

  def _flush_often(self):
    while not self._end.wait(FLUSH_SECONDS):
      try:
        self.flush()
        self._is_failing = False
      except StorageError as error:
        if not self._is_failing:
          print(f'{error}\nWhat follows waits in memory.', file=sys.stderr)
        self._is_failing = True


def next_names(folder, suffix):
  """Returns `part -> name` of a start after all those that wrote into `folder`."""
  start = max((start for start, _ in _parts(folder)), default=-1) + 1
  return lambda part: f'{start:04d}-{part:06d}{suffix}'


def keep_newest(folder):
  """Removes the parts of all starts before the newest, whose first one is written."""
  parts = _parts(folder)
  newest = max((start for start, _ in parts), default=0)
  old = [os.fspath(folder / name) for start, name in parts if start < newest]
  bucket_paths.remove_all(folder, old)


def read_parts(folder):
  """Returns the bytes of all parts in order, those of the newest start alone."""
  # The first part of a start holds what it keeps of those before.
  parts = _parts(folder)
  newest = max((start for start, _ in parts), default=0)
  names = [name for start, name in parts if start == newest]
  return b''.join((place(folder) / name).read_bytes() for name in names)


def read_tail(folder):
  """Returns the bytes of the newest part, after those of the one before it."""
  names = [name for _, name in _parts(folder)][-2:]
  newest = names[-1:] if len(names) > 1 and names[0][:4] != names[1][:4] else names
  return b''.join((place(folder) / name).read_bytes() for name in newest)


def _parts(folder):
  """Returns [(start, name)] of the parts in `folder`, in order."""
  found = [(_PART.fullmatch(name), name) for name in objects.names_in(folder)]
  return [(int(match[1]), name) for match, name in found if match]
