"""Saves: what a step is saved with, and what happens when the disk is full.

A save that fails is tried again after each of `checkpoint.retry_seconds`, since most
full disks are mended by somebody; training goes on meanwhile, and the state of the
moment is saved. It runs behind the steps, so its failure shows at a later one. Several
processes fail and try again together (see `Checkpoints`), by the clock of the first.
"""

import contextlib
import dataclasses
import time

from gpt_jax.core.errors import StorageError
from gpt_jax.parallel import sync


@dataclasses.dataclass
class PendingSave:
  """A save that is owed: it came due after a bad step, or failed."""

  is_owed: bool = False
  failures: int = 0
  """In a row."""
  try_at: float = 0.0
  """Not before this moment, in seconds of a clock that never goes back."""
  kept: tuple[int, ...] = ()
  """The steps that were there when the last one failed."""


def save(run):
  """Saves the state, the data position and what the run was made of as one step.

  Returns once the arrays are copied; nothing is done for a step that is there already.
  A state whose last step was bad may be past saving: it waits for a good one, so that
  it takes no sound checkpoint's place. While an earlier failure's wait lasts the save
  is owed. Raises StorageError when all tries have failed.
  """
  run.debt.is_owed = True
  if run.tally.in_a_row == 0 and may_try(run):
    with _counted(run):
      _start(run)
      run.debt.is_owed = False


def poll(run):
  """Takes note of a save that has failed or got through; never waits for one.

  Call it once a step. Raises StorageError when all tries have failed.
  """
  with _counted(run):
    run.store.check()
  _clear_failures(run)


def may_try(run):
  """Returns whether a save may be made now, the same on every process."""
  debt = run.debt
  return not debt.failures or sync.broadcast_from_primary(
    time.monotonic() >= debt.try_at
  )


def save_and_wait(run):
  """Returns once the present step is on the disk, and every save before it.

  No step follows, so this waits between tries.
  """
  waits = run.config.checkpoint.retry_seconds
  for number, wait in enumerate((*waits, None), start=1):
    try:
      run.store.wait()
      _start(run)
      run.store.wait()
      return _clear_failures(run)
    except StorageError as error:
      if wait is None:
        _add_what_is_left(run, error, number)
        raise
      run.console.note(_said(error, number, waits))
      time.sleep(wait)


def commit_pending(run):
  """Returns once no save is under way; what cannot be saved no longer matters."""
  with contextlib.suppress(StorageError):
    run.store.wait()


def _clear_failures(run):
  if run.debt.failures and tuple(run.store.steps()) != run.debt.kept:
    run.console.note(f'saving works again: step {run.store.steps()[-1]} is on the disk')
    run.debt = PendingSave(run.debt.is_owed)


def _start(run):
  if run.step in run.store.steps():
    return
  meta = dict(
    next_sample=run.detours.first_sample(run.step),
    tokens=run.program.horizon.tokens_at(run.step),
    detours=run.detours.as_json(),
    tally=dataclasses.asdict(run.tally),
    config=run.saved_config,
    fingerprints=run.fingerprints,
    mesh=dict(run.program.rules.mesh.shape),
  )
  # Figures of an older state say nothing about how good this one is.
  scores = run.scores if run.scored_step == run.step else {}
  run.store.save(run.step, run.state.as_items(), meta, metrics=scores)


@contextlib.contextmanager
def _counted(run):
  """Turns a failure into a debt, the last one that is allowed into a StorageError."""
  try:
    yield
  except StorageError as error:
    debt, waits = run.debt, run.config.checkpoint.retry_seconds
    debt.is_owed = True
    debt.failures += 1
    debt.kept = tuple(run.store.steps())
    if debt.failures > len(waits):
      _add_what_is_left(run, error, debt.failures)
      raise
    debt.try_at = time.monotonic() + waits[debt.failures - 1]
    run.console.note(_said(error, debt.failures, waits) + ' Training goes on.')


def _said(error, number, waits):
  return (
    f'{error}\nTry {number} of {len(waits) + 1}; the next in {waits[number - 1]:g} s.'
  )


def _add_what_is_left(run, error, attempts):
  newest = max(run.store.steps(), default=None)
  good = 'no step is saved' if newest is None else f'the last good step is {newest}'
  error.add_note(f'Gave up at step {run.step}, tries: {attempts}; {good}.')
