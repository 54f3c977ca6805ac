"""Stretches of many files, of a folder or a bucket, in bounded memory."""

import collections
import itertools
import os
import threading
from typing import Any

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.checksums import BLOCK_BYTES
from gpt_jax.storage import bucket_paths
from gpt_jax.storage.urls import is_remote

_MAX_OPEN = 128  # a process may have 1,024 and has others
_CACHE, _CACHE_BYTES = 'GPT_JAX_READ_CACHE_MB', 256 << 20


def reader_of(folder):
  """Returns the reader of files in `folder`: `reader(path, start, count) -> bytes`."""
  return BucketReader() if is_remote(folder) else RangeReader()


class RangeReader:
  """Reads bytes of local files; nothing that was read stays in memory."""

  requests_at_once = 1  # a disk is not slow to answer

  def __init__(self):
    self._open = collections.OrderedDict()
    self._lock = threading.Lock()

  def __call__(self, path, start, count):
    """Returns bytes `start` to `start + count` of `path`, less at its end."""
    with self._lock:  # a file that another thread reads is not to be closed
      return os.pread(self._descriptor(path), count, start)

  def _descriptor(self, path):
    if path in self._open:
      self._open.move_to_end(path)
      return self._open[path]
    if len(self._open) >= _MAX_OPEN:
      _, oldest = self._open.popitem(last=False)
      os.close(oldest)
    self._open[path] = os.open(path, os.O_RDONLY)
    return self._open[path]

  def __del__(self):
    for descriptor in self._open.values():
      os.close(descriptor)


class Blocks:
  """Blocks of objects in memory, those that were used last; for threads."""

  def __init__(self):
    self._blocks = collections.OrderedDict()
    self._size, self._lock = 0, threading.Lock()

  def get(self, keys):
    """Returns the blocks of `keys`, None for each that is not here."""
    with self._lock:
      for key in keys:
        if key in self._blocks:
          self._blocks.move_to_end(key)
      return [self._blocks.get(key) for key in keys]

  def keep(self, key, block, most):
    """Adds a block, and removes others until all have at most `most` bytes."""
    with self._lock:
      if key not in self._blocks:
        self._blocks[key] = block
        self._size += len(block)
      while self._size > most:
        _, oldest = self._blocks.popitem(last=False)
        self._size -= len(oldest)


_blocks = Blocks()  # of all readers of this process
_numbers = itertools.count()


class BucketReader:
  """Reads ranges of objects; the blocks that all readers read last stay in memory."""

  requests_at_once = 32

  def __init__(self):
    self._most, self._number = cache_bytes(), next(_numbers)

  def __call__(self, path, start, count):
    """Returns bytes `start` to `start + count` of `path`, less at its end."""
    first, last = start // BLOCK_BYTES, -(-(start + count) // BLOCK_BYTES)
    content = b''.join(self._read(str(path), first, last))
    inside = start - first * BLOCK_BYTES
    return content[inside : inside + count]

  def _read(self, path, first, last):
    """Returns blocks `first` to `last`; those that are not here come in one request."""
    # By reader: one that is opened later must not be given an object of before.
    keys = [(self._number, path, i) for i in range(first, last)]
    found = _blocks.get(keys)
    if missing := [i for i, block in enumerate(found) if block is None]:
      begin, end = first + missing[0], first + missing[-1] + 1
      content: Any = bucket_paths.read(path, begin * BLOCK_BYTES, end * BLOCK_BYTES)
      for i in range(begin, end):
        inside = (i - begin) * BLOCK_BYTES
        block = bytes(content[inside : inside + BLOCK_BYTES])
        _blocks.keep(keys[i - first], block, self._most)
        found[i - first] = block
    return [block or b'' for block in found]


def cache_bytes():
  """Returns how many bytes of blocks stay; ConfigError for a variable of no number."""
  text = os.environ.get(_CACHE, '')
  if not text:
    return _CACHE_BYTES
  if not text.isdecimal():
    raise ConfigError(
      f'{_CACHE}={text!r}: expected MB of memory for blocks of prepared corpora in'
      f' buckets, such as {_CACHE_BYTES >> 20}; 0 keeps none.'
    )
  return int(text) << 20
