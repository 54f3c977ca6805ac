"""Standard input to the journal, in a thread: what was read outlives a kill."""

import os
import threading
import time

from gpt_jax.core.errors import StorageError
from gpt_jax.opinion.events import MAX_BYTES
from gpt_jax.opinion.inbox import MAX_BACKLOG

CHUNK = 1 << 16
WAIT_SECONDS = 0.2


class Reader:
  """Reads a file descriptor to its end; live until all of it is in the journal."""

  def __init__(self, journal, descriptor=0):
    self._journal, self._descriptor = journal, descriptor
    self.problem = None  # a StorageError that ended it
    self._thread = threading.Thread(target=self._read, daemon=True)
    self._thread.start()

  def is_live(self):
    """Returns whether lines may still come; raises the StorageError that ended it."""
    is_live = self._thread.is_alive()
    if self.problem is not None:
      raise self.problem
    return is_live

  def _read(self):
    rest = b''
    try:
      while chunk := os.read(self._descriptor, CHUNK):
        *lines, rest = (rest + chunk).split(b'\n')
        rest = rest[: MAX_BYTES + 1]  # of a line that is too long, enough to say so
        self._append(lines)
      self._append([rest])
    except StorageError as error:
      self.problem = error

  def _append(self, lines):
    while self._journal.backlog() > MAX_BACKLOG:
      time.sleep(WAIT_SECONDS)
    if lines := [line for line in lines if line.strip()]:
      self._journal.append(lines)
