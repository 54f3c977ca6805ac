"""Bad steps as the host sees them: counted, written down, and ended when too many.

What `guard.py` decided on the device is read with the other metrics, a step late.
"""

import collections
import dataclasses
import math

from gpt_jax.core.errors import DivergedError
from gpt_jax.train import postmortem, rollback
from gpt_jax.train.rollback import RollBack

HISTORY_STEPS = 256  # of losses in a post-mortem


@dataclasses.dataclass
class SkipCounts:
  """What the run knows of its bad steps; comes back from a checkpoint's record."""

  skipped: int = 0
  """Steps without an update since step 0."""
  in_a_row: int = 0


class Guard:
  """Counts bad steps, writes them down, and ends or rolls back a run when it must."""

  def __init__(self, run):
    self._run = run
    self._history = collections.deque(maxlen=HISTORY_STEPS)

  def observe(self, step, values):
    """Takes the fetched metrics of `step`, on every process, in order.

    Raises DivergedError after guard.max_bad_steps in a row, RollBack at a spike when
    the policy is to roll back.
    """
    run, loss, grad_norm = self._run, float(values['loss']), float(values['grad_norm'])
    is_bad = bool(values['skipped'])
    self._history.append(
      dict(step=step, loss=loss, grad_norm=grad_norm, skipped=is_bad)
    )
    tally = run.tally
    if not is_bad:
      tally.in_a_row = 0
      return
    tally.skipped += 1
    tally.in_a_row += 1
    is_spike = math.isfinite(loss) and math.isfinite(grad_norm)
    first, last = run.detours.samples_of(step)
    event = dict(
      kind='spike' if is_spike else 'not finite', step=step,
      loss=postmortem.number(loss), grad_norm=postmortem.number(grad_norm),
      first_sample=first, last_sample=last,
    )  # fmt: skip
    if is_spike:
      event['highest_loss'] = float(values['highest_loss'])
    run.console.note(
      f'step {step}: {_said(event)}; no update. Samples {first} to {last}:'
      f' gpt-jax replay --workdir={run.workdir} --step={step}'
    )
    policy = run.config.guard.spikes
    if is_spike and policy == 'rollback':
      raise RollBack(step, event, list(self._history))
    run.add_event(event)
    if tally.in_a_row >= run.config.guard.max_bad_steps:
      self._end(step, loss, grad_norm)

  def _end(self, step, loss, grad_norm):
    """Raises DivergedError and leaves postmortem.json."""
    run = self._run
    name, value = ('loss', loss)
    if math.isfinite(loss) and not math.isfinite(grad_norm):
      name, value = 'grad_norm', grad_norm
    bad = [entry['step'] for entry in self._history if entry['skipped']]
    bad = bad[-run.tally.in_a_row :]
    where = postmortem.write(run, bad, list(self._history))
    raise DivergedError(
      f'train/{name}={value} at step {step}: {run.tally.in_a_row} steps in a row'
      ' (guard.max_bad_steps) made no update; the run has diverged. '
      + _what_to_do(where)
    )


def roll_back(run, found):
  """Returns the Detours that answer the RollBack `found`; every process calls it.

  Raises DivergedError after guard.max_rollbacks and leaves postmortem.json.
  """
  try:
    return rollback.decide(run.detours, found, run.store.steps(), run.config.guard)
  except DivergedError as error:
    run.add_event(found.event)
    where = postmortem.write(run, [found.step], found.history)
    raise DivergedError(
      f'{error} {_what_to_do(where)} guard.rollback_steps, guard.rollback_extra_steps'
      ' and guard.max_rollbacks go back further, leave out more, and try more often.'
    ) from None


def _what_to_do(where):
  return (
    f'{where} has the losses before, the norms by layer and how to look at the batches.'
    ' Lower optimizer.learning_rate or optimizer.clip_norm, or lengthen'
    ' schedule.warmup_steps; then start in a new workdir, or go on from the last'
    ' checkpoint with --allow_changes.'
  )


def _said(event):
  if event['kind'] == 'spike':
    return f'loss {event["loss"]:.4f} is a spike (above {event["highest_loss"]:.4f})'
  return f'loss {event["loss"]}, gradient norm {event["grad_norm"]}'
