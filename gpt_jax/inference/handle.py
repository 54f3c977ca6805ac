"""What the sender of a request holds: its text as it grows, and how to end it."""

import dataclasses
import time

import numpy as np

from gpt_jax.inference.writing import Writing


class Handle:
  """One request that a scheduler has taken; made by `Scheduler.submit`.

  Iterating over it yields the new ids as they come, up to and without a stop id. While
  no thread runs the scheduler, whoever waits for an id does its work.
  """

  def __init__(self, scheduler, request, priority):
    self.request = request
    self.priority = priority
    self.writing = Writing(request)
    self.ended = None
    """Why the text is over: as `WrittenText.finish` says, 'cancelled', or 'failed'."""
    self.seconds = {}
    """When it was 'submitted', got its first slot ('admitted'), had its 'first' id and
    'ended', by time.monotonic."""
    self.reused_tokens = 0
    """How many tokens of the prompt came from what others had read."""
    self._scheduler = scheduler
    self._error = None
    self._mark('submitted')

  def __iter__(self):
    position, ids = 0, self.writing.ids
    while True:
      self._scheduler.work_until(lambda at=position: len(ids) > at or self.ended)
      new_ids = ids[position:]
      yield from new_ids
      position += len(new_ids)
      if not new_ids:
        self._raise_error()
        return

  @property
  def ids(self):
    """The new ids so far, int32 [n]."""
    return np.array(self.writing.ids, np.int32)

  def result(self):
    """Returns the WrittenText once it is over.

    What was written until then where it was cancelled; raises what made it fail.
    """
    self._scheduler.work_until(lambda: self.ended)
    self._raise_error()
    return dataclasses.replace(self.writing.result(), finish=self.ended)

  def cancel(self):
    """Ends the text where it is; its slot is free at the scheduler's next step."""
    self._scheduler.cancel(self)

  def note_admission(self):
    """For the scheduler: it has a slot."""
    if 'admitted' not in self.seconds:
      self._mark('admitted')

  def note_progress(self):
    """For the scheduler: some ids may be new."""
    if self.writing.ids and 'first' not in self.seconds:
      self._mark('first')

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
