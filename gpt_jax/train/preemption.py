"""SIGTERM and Ctrl-C: the run finishes its step, saves, and ends with exit code 75."""

import os
import signal
import socket
import sys
import threading

import jax
from jax.experimental import multihost_utils

from gpt_jax.core.errors import AbortedStart

INTERRUPTED = 130  # what a shell reports for Ctrl-C


# Before the first step there is nothing to save: the start is aborted, with 75 as well.
#
# A single process handles both signals. A thread reads them from a pipe that Python's C
# handler writes to, so they are noticed during a compilation too, when no Python runs.
#
# With several, SIGTERM belongs to jax: its coordination service tells all of them when
# one got it and chooses a step that none has passed yet
# (multihost_utils.reached_preemption_sync_point). That costs a lock a step, and no
# collective on the device. Ctrl-C is passed on to jax as a SIGTERM. No start is aborted
# there: the others would wait for the one that left.


class Watch:
  """Notices signals while it is entered; afterwards the handlers are as before."""

  def __init__(self):
    self.signal = None  # the name of the first one
    self._has_begun = self._was_aborted = False
    self._is_distributed = jax.distributed.is_initialized()
    self._calls = 0
    self._previous = {}

  def __enter__(self):
    if threading.current_thread() is not threading.main_thread():
      return self  # Python allows handlers in the main thread only
    ours = [signal.SIGINT] if self._is_distributed else [signal.SIGINT, signal.SIGTERM]
    self._reader, self._writer = socket.socketpair()
    self._writer.setblocking(False)
    self._previous_fd = signal.set_wakeup_fd(self._writer.fileno())
    for number in ours:
      self._previous[number] = signal.signal(number, self._handle)
    self._thread = threading.Thread(target=self._listen, name='signals', daemon=True)
    self._thread.start()
    return self

  def __exit__(self, kind, error, traceback):
    if self._previous:
      self._restore_handlers()
    # Libraries may have made another error of the interruption.
    if self._was_aborted and kind is not None:
      raise AbortedStart(
        f'{self.signal or "a signal"}: stopped before the first step of this start;'
        ' nothing is lost, the same command resumes.'
      ) from error

  def begin(self):
    """Makes signals end the run after a step; before, they abort the start."""
    self._has_begun = True

  def _restore_handlers(self):
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(self._previous_fd)
    self._writer.close()  # ends the thread
    self._thread.join()
    self._reader.close()
    self._previous = {}

  def must_stop(self):
    """Returns whether the run ends after this step; every process asks once a step."""
    if not self._is_distributed:
      return self.signal is not None
    # A counter of its own: after a rollback, steps come a second time.
    self._calls += 1
    return multihost_utils.reached_preemption_sync_point(self._calls)

  def _handle(self, number, frame):
    # In the main thread; the listening thread does the rest.
    if not self._is_distributed and not self._has_begun:
      self._was_aborted = True
      raise KeyboardInterrupt

  def _listen(self):
    while received := self._reader.recv(64):
      for number in received:
        if number in (signal.SIGINT, signal.SIGTERM):
          self._react(number)

  def _react(self, number):
    if self.signal is None:
      self.signal = signal.Signals(number).name
      if self._is_distributed or self._has_begun:
        _print(f'{self.signal}: this step is finished and saved, then the run ends')
      if self._is_distributed:
        os.kill(os.getpid(), signal.SIGTERM)
    elif number == signal.SIGINT:
      _print('second Ctrl-C: ended at once; the last saved step is kept')
      os._exit(INTERRUPTED)


def _print(text):
  print(f'\ngpt-jax: {text}', file=sys.stderr, flush=True)
