"""The bounded queue of requests that wait for a slot."""

import heapq

from gpt_jax.core.errors import ConfigError, UserError


class QueueFullError(UserError):
  """A request that came while as many as allowed were waiting; it was not taken."""


class ClosedError(ConfigError):
  """A request to a scheduler that was closed, or has died; it was not taken."""


class WaitingQueue:
  """Waiting entries, those of higher priority first, then in turn by principal.

  Those of one principal keep their order. However many one has sent, the next of
  another comes after at most one more of them (start-time fair queueing, SIGCOMM 1996).
  """

  # Entries have `priority`, `principal` and `number`, the latter in the order of
  # arrival; `turn` is set here, once.

  def __init__(self, limit):
    """Takes how many may wait; None: any number."""
    self.limit = limit
    self._heap = []  # (-priority, turn, number, entry); entries may have been removed
    self._numbers = set()
    self._now = {}  # priority -> turn of the latest entry that was taken
    self._latest = {}  # (priority, principal) -> turn of its latest entry

  def __len__(self):
    return len(self._numbers)

  def require_room(self, count=1):
    """Raises QueueFullError where `count` more would be too many."""
    if self.limit is not None and len(self) + count > self.limit:
      raise QueueFullError(
        f'the queue is full: {len(self)} requests wait, and'
        f' inference.queue_limit={self.limit}; send the request again when some have'
        ' ended, or raise the limit.'
      )

  def put(self, entry):
    """Adds an entry, again where it was taken out before; regardless of the limit."""
    assert entry.number not in self._numbers
    self._numbers.add(entry.number)
    if entry.turn is None:
      who = entry.priority, entry.principal
      now = self._now.get(entry.priority, 0)
      entry.turn = self._latest[who] = max(now, self._latest.get(who, 0)) + 1
    heapq.heappush(self._heap, (-entry.priority, entry.turn, entry.number, entry))

  def first(self):
    """Returns the entry that is next, or None."""
    while self._heap and self._heap[0][2] not in self._numbers:
      heapq.heappop(self._heap)
    return self._heap[0][3] if self._heap else None

  def take(self):
    """Removes and returns the entry that is next, which has to be there."""
    entry = self.first()
    assert entry is not None
    heapq.heappop(self._heap)
    self._numbers.remove(entry.number)
    now = self._now.get(entry.priority, 0)
    self._now[entry.priority] = max(now, entry.turn)
    if not self._numbers:
      self._latest.clear()
    return entry

  def remove(self, entry):
    """Removes an entry from anywhere in the queue."""
    self._numbers.remove(entry.number)
