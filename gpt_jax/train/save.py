"""Saves: what a checkpoint holds, and what happens when the disk is full.

A failed save is tried again after each of `checkpoint.retry_seconds`, with the state of
the moment, while training goes on. Saves run behind the steps, so a failure shows at a
later one; several processes fail and retry together, by the clock of the first.
"""

import contextlib
import dataclasses
import os
import sys
import time

import jax

from gpt_jax.config import load
from gpt_jax.core.errors import StorageError
from gpt_jax.parallel import sync
from gpt_jax.program.base import RECORD
from gpt_jax.workdir.lease import LostLease


@dataclasses.dataclass
class Saver:
  """Saves a run; remembers what failed, or came due after a bad step."""

  is_pending: bool = False  # whether a save is still to be made
  failures: int = 0  # in a row
  retry_at: float = 0.0  # no earlier, in seconds of a monotonic clock
  steps_at_failure: tuple[int, ...] = ()  # on the disk when the last save failed

  def save(self, session, progress):
    """Starts to save the present step, unless it is on the disk.

    Pending instead before `retry_at` and after a bad step. Raises StorageError when all
    tries have failed.
    """
    self.is_pending = True
    # After a bad step the state may be worthless, and would push a valid one out.
    if progress.skips.in_a_row == 0 and self.may_try():
      with self._counting_failures(session, progress):
        _start(session, progress)
        self.is_pending = False

  def poll(self, session, progress):
    """Notices, without waiting, that a save has failed or is done; once a step."""
    with self._counting_failures(session, progress):
      session.store.check()
    self._clear_failures(session)

  def may_try(self):
    """Returns whether a save may start now, the same on every process."""
    return not self.failures or sync.broadcast_from_primary(
      time.monotonic() >= self.retry_at
    )

  def save_and_wait(self, session, progress):
    """Returns once the present step is on the disk; waits between tries."""
    waits = session.config.checkpoint.retry_seconds
    for attempt, wait in enumerate((*waits, None), start=1):
      try:
        session.store.wait()
        _start(session, progress)
        session.store.wait()
        return self._clear_failures(session)
      except LostLease as error:
        _leave(error)
      except StorageError as error:
        if wait is None:
          _add_what_is_left(session, progress, error, attempt)
          raise
        session.console.note(_describe(error, attempt, waits))
        time.sleep(wait)

  def _clear_failures(self, session):
    steps = session.store.steps()
    if self.failures and tuple(steps) != self.steps_at_failure:
      session.console.note(f'saving works again: step {steps[-1]} is on the disk')
      self.failures, self.retry_at, self.steps_at_failure = 0, 0.0, ()

  @contextlib.contextmanager
  def _counting_failures(self, session, progress):
    """Makes a failed save pending; the last one allowed is raised."""
    try:
      yield
    except LostLease as error:  # another process may write there: no try is allowed
      _leave(error)
    except StorageError as error:
      waits = session.config.checkpoint.retry_seconds
      self.is_pending = True
      self.failures += 1
      self.steps_at_failure = tuple(session.store.steps())
      if self.failures > len(waits):
        _add_what_is_left(session, progress, error, self.failures)
        raise
      self.retry_at = time.monotonic() + waits[self.failures - 1]
      session.console.note(
        _describe(error, self.failures, waits) + ' Training goes on.'
      )


def _leave(error):
  """Raises `error`; ends the first of several processes at once, with its exit code."""
  if jax.process_count() > 1:
    # The others are in the next step: an orderly end would wait for them for minutes.
    # They end as soon as this one is gone.
    print(f'\ngpt-jax: error: {error}', file=sys.stderr, flush=True)
    os._exit(error.exit_code)
  raise error


def _start(session, progress):
  step, program = progress.step, session.program
  if step in session.store.steps():
    return
  meta = dict(
    next_sample=progress.rollbacks.first_sample(step),
    tokens=program.horizon.tokens_at(step),
    # The names of the first edition, which reads these records too.
    detours=progress.rollbacks.as_json(),
    tally=dataclasses.asdict(progress.skips),
    early_stopping=dataclasses.asdict(progress.watched),
    config=load.to_dict(session.config),
    fingerprints=session.fingerprints,
    mesh=dict(program.rules.mesh.shape),
  )
  # Metrics of an older state say nothing about how good this one is.
  scores = progress.scores if progress.scored_step == step else {}
  # Where metrics reach readers in parts, a run that resumes here has all up to here.
  session.tracker.flush()
  items = progress.state.as_items()
  if progress.base is not None:
    items, meta = progress.base.saved(items), meta | {RECORD: progress.base.as_json()}
  session.store.save(step, items, meta, metrics=scores)


def _describe(error, attempt, waits):
  return (
    f'{error}\nTry {attempt} of {len(waits) + 1}; the next in {waits[attempt - 1]:g} s.'
  )


def _add_what_is_left(session, progress, error, attempts):
  newest = max(session.store.steps(), default=None)
  good = 'no step is saved' if newest is None else f'the last good step is {newest}'
  error.add_note(f'Gave up at step {progress.step}, tries: {attempts}; {good}.')
