"""What the sender of a request holds: its text as it grows, and how to end it."""

import time

import numpy as np


class Handle:
  """One request that a scheduler has taken; made by `Scheduler.submit`.

  Iterating over it yields the new ids as they come, up to and without a stop id. While
  no thread runs the scheduler, whoever waits for an id does its work.
  """

  def __init__(self, scheduler, request, priority):
    self.request = request
    self.priority = priority
    self.ended = None
    """Why the text is over: 'stop', 'length', 'cancelled', 'failed'; None: it isn't."""
    self.seconds = {}
    """When it was 'submitted', had its 'first' id and 'ended', by time.monotonic."""
    self.reused_tokens = 0
    """How many tokens of the prompt came from what others had read."""
    self._scheduler = scheduler
    self._ids = []
    self._error = None
    self._mark('submitted')

  def __iter__(self):
    position = 0
    while True:
      self._scheduler.work_until(lambda at=position: len(self._ids) > at or self.ended)
      new_ids = self._ids[position:]
      yield from new_ids
      position += len(new_ids)
      if not new_ids:
        self._raise_error()
        return

  @property
  def ids(self):
    """The new ids so far, int32 [n]."""
    return np.array(self._ids, np.int32)

  @property
  def num_ids(self):
    return len(self._ids)

  def result(self):
    """Returns all new ids, int32 [n], once the text is over.

    Those written until then where it was cancelled; raises what made it fail.
    """
    self._scheduler.work_until(lambda: self.ended)
    self._raise_error()
    return self.ids

  def cancel(self):
    """Ends the text where it is; its slot is free at the scheduler's next step."""
    self._scheduler.cancel(self)

  def take(self, new_ids):
    """For the scheduler: adds ids to the text."""
    if new_ids and not self._ids:
      self._mark('first')
    self._ids.extend(int(i) for i in new_ids)

  def end(self, reason, error=None):
    """For the scheduler: the text is over."""
    self._error = error
    self._mark('ended')
    self.ended = reason

  def _mark(self, event):
    self.seconds[event] = time.monotonic()

  def _raise_error(self):
    if self._error is not None:
      raise self._error
