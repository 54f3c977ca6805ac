"""The bounded queue of requests that wait for a slot."""

import heapq

from gpt_jax.core.errors import ConfigError, UserError


class QueueFullError(UserError):
  """A request that came while as many as allowed were waiting; it was not taken."""


class ClosedError(ConfigError):
  """A request to a scheduler that was closed, or has died; it was not taken."""


class WaitingQueue:
  """Waiting entries, those of higher priority first, then in the order they came."""

  # Entries have `priority` and `number`, the latter in the order of arrival.

  def __init__(self, limit):
    """Takes how many may wait; None: any number."""
    self._limit = limit
    self._heap = []  # (-priority, number, entry); entries may have been removed
    self._numbers = set()

  def __len__(self):
    return len(self._numbers)

  def require_room(self, count=1):
    """Raises QueueFullError where `count` more would be too many."""
    if self._limit is not None and len(self) + count > self._limit:
      raise QueueFullError(
        f'the queue is full: {len(self)} requests wait, and'
        f' inference.queue_limit={self._limit}; send the request again when some have'
        ' ended, or raise the limit.'
      )

  def put(self, entry):
    """Adds an entry, again where it was taken out before; regardless of the limit."""
    assert entry.number not in self._numbers
    self._numbers.add(entry.number)
    heapq.heappush(self._heap, (-entry.priority, entry.number, entry))

  def first(self):
    """Returns the entry that is next, or None."""
    while self._heap and self._heap[0][1] not in self._numbers:
      heapq.heappop(self._heap)
    return self._heap[0][2] if self._heap else None

  def take(self):
    """Removes and returns the entry that is next, which has to be there."""
    entry = self.first()
    assert entry is not None
    heapq.heappop(self._heap)
    self._numbers.remove(entry.number)
    return entry

  def remove(self, entry):
    """Removes an entry from anywhere in the queue."""
    self._numbers.remove(entry.number)
