"""SIGTERM and Ctrl-C: the run finishes its step, saves, and ends with exit code 75.

Before the first step of a start there is nothing to save: reading, restoring and the
like are broken off where they stand, with 75 as well.

Alone, the process handles both signals itself. A thread reads them from a pipe that
Python's C handler writes to, so they are noticed during a compilation too, when no
Python runs; a second Ctrl-C ends the process there and then.

In a run of several, SIGTERM belongs to jax: its coordination service tells all
processes when one of them got it and settles on a step that none has passed yet
(multihost_utils.reached_preemption_sync_point). That costs a lock a step, no message
and nothing on the device, where a flag summed over all would cost a collective each
step. Ctrl-C is passed on to jax as a SIGTERM. Nothing is broken off there: the others
would wait for the one that left.
"""

import os
import signal
import socket
import sys
import threading

import jax
from jax.experimental import multihost_utils

from gpt_jax.core.errors import Interrupted

INTERRUPTED = 130  # what a shell reports for Ctrl-C


class Watch:
  """Notices signals while it is entered; afterwards the handlers are as before."""

  def __init__(self):
    self.signal = None
    """The name of the first signal, None before it."""
    self._has_begun = self._is_broken_off = False
    self._together = jax.distributed.is_initialized()
    self._calls = 0
    self._former = {}

  def __enter__(self):
    if threading.current_thread() is not threading.main_thread():
      return self  # only the main thread may: whoever runs us in another has his own
    ours = [signal.SIGINT] if self._together else [signal.SIGINT, signal.SIGTERM]
    self._reader, self._writer = socket.socketpair()
    self._writer.setblocking(False)
    self._former_fd = signal.set_wakeup_fd(self._writer.fileno())
    for number in ours:
      self._former[number] = signal.signal(number, self._handle)
    self._thread = threading.Thread(target=self._listen, name='signals', daemon=True)
    self._thread.start()
    return self

  def __exit__(self, kind, error, traceback):
    if self._former:
      self._let_go()
    # Libraries may have made another error of the interruption.
    if self._is_broken_off and kind is not None:
      raise Interrupted(
        f'{self.signal or "a signal"}: stopped before the first step of this start;'
        ' nothing is lost, the same command goes on.'
      ) from error

  def begin(self):
    """From here on a signal ends the run after a step; before, at once."""
    self._has_begun = True

  def _let_go(self):
    for number, handler in self._former.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(self._former_fd)
    self._writer.close()  # ends the thread
    self._thread.join()
    self._reader.close()
    self._former = {}

  def must_stop(self):
    """Returns whether the run ends after this step, the same on every process.

    Every process calls it once a step.
    """
    if not self._together:
      return self.signal is not None
    # A counter of its own: after a rollback, steps come a second time.
    self._calls += 1
    return multihost_utils.reached_preemption_sync_point(self._calls)

  def _handle(self, number, frame):
    """Python's own handler, in the main thread: the listening thread does the rest."""
    if not self._together and not self._has_begun:
      self._is_broken_off = True
      raise KeyboardInterrupt

  def _listen(self):
    while received := self._reader.recv(64):
      for number in received:
        if number in (signal.SIGINT, signal.SIGTERM):
          self._take(number)

  def _take(self, number):
    if self.signal is None:
      self.signal = signal.Signals(number).name
      if self._together or self._has_begun:
        _say(f'{self.signal}: this step is finished and saved, then the run ends')
      if self._together:
        os.kill(os.getpid(), signal.SIGTERM)
    elif number == signal.SIGINT:
      _say('second Ctrl-C: ended at once; the last saved step is kept')
      os._exit(INTERRUPTED)


def _say(text):
  print(f'\ngpt-jax: {text}', file=sys.stderr, flush=True)
