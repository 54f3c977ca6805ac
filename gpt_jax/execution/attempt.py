"""Trains one point in this process: it comes back done, failed, or taken by another."""

import contextlib
import dataclasses
import os
import sys
import textwrap
import time
import traceback

from gpt_jax.core.errors import Interrupted, StorageError, UserError
from gpt_jax.program import setup
from gpt_jax.sweeps import states
from gpt_jax.train import loop, preemption
from gpt_jax.workdir.paths import Workdir

LOG = 'sweep.log'
BUG = 1  # exit code
MAX_WHY = 200  # characters of a reason; failure.json has all of it


@dataclasses.dataclass(frozen=True)
class Attempt:
  """What became of training a point."""

  kind: str  # done, failed, or running: by another process
  why: str = ''
  exit_code: int = 0
  was_signalled: bool = False
  """Whether SIGTERM or Ctrl-C came when the training had nothing left to stop."""


def attempt(point, open_program=setup.open_program):
  """Returns the Attempt of training `point`; its output goes to WORKDIR/logs/sweep.log.

  Raises Interrupted after SIGTERM or Ctrl-C, once the present step is saved.
  """
  if outcome := outcome_if_taken(point):
    return outcome
  error, signals = None, preemption.Watch()
  try:
    with output_to(Workdir(point.workdir).logs / LOG):
      loop.train(
        point.config, point.workdir, open_program=open_program, signals=signals
      )
  except (Interrupted, KeyboardInterrupt, SystemExit):
    raise
  except BaseException as raised:  # any: the others have to run
    error = raised
  outcome = outcome_of(point, error)
  return dataclasses.replace(outcome, was_signalled=signals.signal is not None)


def outcome_if_taken(point):
  """Returns the Attempt of a point that another process has taken or finished."""
  if states.is_done(point):
    return Attempt(states.DONE)
  if owner := states.living_owner(point.workdir):
    return Attempt(states.RUNNING, str(owner))
  return None


def outcome_of(point, error):
  """Returns the Attempt of a training that has ended, with None or an `error`."""
  if error is None:
    states.clear_failure(point)
    return Attempt(states.DONE)
  if isinstance(error, StorageError):
    # Another process has the lock, or had it until a moment ago and has finished.
    if outcome := outcome_if_taken(point):
      return outcome
  return failed(point, first_line(error), getattr(error, 'exit_code', BUG), error)


def failed(point, why, exit_code, error=None):
  """Returns the Attempt of a failure, once it is recorded in the workdir."""
  text = ''
  if error is not None:
    is_bug = not isinstance(error, UserError)
    text = ''.join(traceback.format_exception(error)) if is_bug else str(error)
    with contextlib.suppress(OSError):
      with open(Workdir(point.workdir).logs / LOG, 'a', encoding='utf-8') as file:
        file.write(f'{text}\n')
  states.write_failure(point, why, exit_code, text, time.time())
  return Attempt(states.FAILED, why, exit_code)


def first_line(error):
  """Returns how what `error` says begins, in one line."""
  text = next((line for line in str(error).splitlines() if line.strip()), '')
  if not isinstance(error, UserError):
    text = f'{type(error).__name__}: {text.strip()}'.rstrip(': ')
  return textwrap.shorten(text, MAX_WHY, placeholder=' ...')


@contextlib.contextmanager
def output_to(path):
  """Sends what this process and its libraries print to the end of file `path`."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, 'a', encoding='utf-8', buffering=1)
  except OSError:  # `loop.train` says why nothing can be written there
    yield
    return
  # File descriptors as well: XLA and TensorStore do not print by Python.
  _flush()
  kept = {fd: os.dup(fd) for fd in (1, 2)}
  try:
    for fd in kept:
      os.dup2(file.fileno(), fd)
    with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
      yield
  finally:
    _flush()
    for fd, copy in kept.items():
      os.dup2(copy, fd)
      os.close(copy)
    file.close()


def _flush():
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):
      stream.flush()
