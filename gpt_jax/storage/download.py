"""Objects copied to files of this machine: in ranges, several requests at once."""

import collections
import concurrent.futures
import os
from typing import NamedTuple

from gpt_jax.core import progress
from gpt_jax.core.errors import StorageError
from gpt_jax.storage import bucket_paths, systems


class Copy(NamedTuple):
  """An object, and the local file that it becomes."""

  source: bucket_paths.Object
  target: os.PathLike


def download(copies, label, done=lambda copy: None):
  """Makes the files of Copies, with their folders; `done` is told of each.

  In memory are READ_BYTES for each request. Raises StorageError where a disk is full,
  and for an object that is written meanwhile.
  """
  ranges = [(copy, start) for copy in copies for start in _starts(copy.source.size)]
  left = collections.Counter(copy for copy, _ in ranges)
  total = sum(copy.source.size for copy in copies)
  pool = concurrent.futures.ThreadPoolExecutor(systems.connections())
  try:
    with progress.shown(label, total) as advance:
      for copy in copies:
        _make(copy)
      tasks = pool.map(lambda one: _copy(*one), ranges)
      for (copy, _), count in zip(ranges, tasks, strict=True):
        advance(count)
        left[copy] -= 1
        if not left[copy]:
          _require_unchanged(copy.source)
          done(copy)
  finally:
    pool.shutdown(cancel_futures=True)


def look_up_all(paths):
  """Returns the Objects at `paths`, several requests at once; FileNotFoundError."""
  with concurrent.futures.ThreadPoolExecutor(systems.connections()) as pool:
    return list(pool.map(bucket_paths.look_up, paths))


def _starts(size):
  return range(0, max(size, 1), bucket_paths.READ_BYTES)


def _make(copy):
  with _explained(copy):
    os.makedirs(os.path.dirname(copy.target), exist_ok=True)
    with open(copy.target, 'wb') as file:
      file.truncate(copy.source.size)


def _copy(copy, start):
  """Returns how many bytes of an object from `start` on are in its file now."""
  path, size, _ = copy.source
  stop = min(start + bucket_paths.READ_BYTES, size)
  if start == stop:
    return 0
  content = bucket_paths.read(path, start, stop)
  if len(content) != stop - start:
    raise _changed(path)
  with _explained(copy), open(copy.target, 'r+b', buffering=0) as file:
    file.seek(start)
    file.write(content)
  return len(content)


def _require_unchanged(source):
  try:
    now = bucket_paths.look_up(source.path)
  except FileNotFoundError as error:
    raise _changed(source.path) from error
  if now != source:
    raise _changed(source.path)


def _changed(path):
  return StorageError(
    f'{path}: was written again or removed while it was copied to this machine; start'
    ' again once it stays as it is.'
  )


class _explained:
  """Turns an OSError of the local disk into a StorageError about a Copy."""

  def __init__(self, copy):
    self._copy = copy

  def __enter__(self):
    return self

  def __exit__(self, kind, error, trace):
    if isinstance(error, OSError):
      raise StorageError(
        f'{self._copy.source.path}: cannot be copied to {self._copy.target}'
        f' ({error.strerror or error}); free some space there, or set GPT_JAX_SCRATCH'
        ' to a folder that can be written and has some.'
      ) from error
