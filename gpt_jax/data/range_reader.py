"""Stretches of many files, of which few are open at a time."""

import collections
import os
import threading

_MAX_OPEN = 128  # a process may have 1,024 and has others


class RangeReader:
  """Reads bytes of local files; nothing that was read stays in memory."""

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
