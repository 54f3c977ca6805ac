"""Saves: what a step is saved with, and what happens when the disk is full.

A save that fails is tried again a few times, since most full disks are mended by
somebody. It runs behind the steps, so its failure shows at a later one (`has_failed`),
whose state is then saved in its place. While a run waits between tries it makes no
steps: ending would lose more. In a run of several processes one of them may fail alone,
so there the run ends at once, and its next start goes on.
"""

import contextlib
import dataclasses
import time

from gpt_jax.errors import StorageError
from gpt_jax.parallel import multihost

WAIT_SECONDS = (1, 5, 30)
"""Before the second try, the third, ..."""


def save(run):
  """Saves the state, the data position and what the run was made of as one step.

  Returns once the arrays are copied; nothing is done for a step that is there already.
  A state whose last step was bad may be past saving: it waits for a good one, so that
  it takes no sound checkpoint's place. Raises StorageError when all tries fail.
  """
  run.owes_save = run.tally.in_a_row > 0
  if run.owes_save:
    return
  _insist(run, lambda: _start(run))


def has_failed(run):
  """Returns whether a save in the background has failed; never waits.

  Who asks then saves the present step in its place.
  """
  try:
    run.store.check()
  except StorageError as error:
    if multihost.process_count() > 1:
      error.add_note(_what_is_left(run, attempts=1))
      raise
    run.console.note(f'{error}\nSaving step {run.step} in its place.')
    return True
  return False


def commit(run):
  """Returns once the present step is on the disk, and every save before it."""

  def once():
    run.store.wait()
    _start(run)
    run.store.wait()

  _insist(run, once)


def commit_pending(run):
  """Returns once no save is under way; what cannot be saved no longer matters."""
  with contextlib.suppress(StorageError):
    run.store.wait()


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
  )
  # Figures of an older state say nothing about how good this one is.
  scores = run.scores if run.scored_step == run.step else {}
  run.store.save(run.step, run.state.as_items(), meta, metrics=scores)


def _insist(run, attempt):
  waits = WAIT_SECONDS if multihost.process_count() == 1 else ()
  for number, wait in enumerate((*waits, None), start=1):
    try:
      return attempt()
    except StorageError as error:
      if wait is None:
        error.add_note(_what_is_left(run, number))
        raise
      run.console.note(
        f'{error}\nTry {number} of {len(waits) + 1}; the next in {wait} s.'
      )
      time.sleep(wait)


def _what_is_left(run, attempts):
  newest = max(run.store.steps(), default=None)
  good = 'no step is saved' if newest is None else f'the last good step is {newest}'
  return f'Gave up at step {run.step}, tries: {attempts}; {good}.'
