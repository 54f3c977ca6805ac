"""Where in the data a step reads: arithmetic on the step, and the rollbacks before it.

A rollback at step s goes back to the checkpoint of step c and leaves out the samples
that the steps after c had read, and some more. Each is a `Detour`, written into
run.json before anything else happens and into the record of every later checkpoint.
From them alone follows what each step read: a resumed run takes the same way again.
"""

import dataclasses
import itertools

from gpt_jax.core.errors import DivergedError


@dataclasses.dataclass(frozen=True)
class Detour:
  """One rollback: steps after `to` read `samples` later than they would have."""

  step: int
  """The step at whose loss the run turned back, counted from 1."""
  to: int
  samples: int


class RollBack(Exception):
  """A spike at `step`, to be answered by a rollback; not an error."""

  def __init__(self, step, event, history=()):
    super().__init__(f'spike at step {step}')
    self.step, self.event, self.history = step, event, history


class Detours:
  """All rollbacks of a run on its Horizon, the oldest first."""

  def __init__(self, horizon, detours=()):
    self._horizon, self.taken = horizon, tuple(detours)

  def first_sample(self, step):
    """Returns the number of the first sample that is read once `step` steps are done.

    A step belongs to the last rollback that went back behind it, and so to all before
    that one.
    """
    taken = self.taken
    while taken and taken[-1].to > step:
      taken = taken[:-1]
    return self._horizon.samples_at(step) + sum(detour.samples for detour in taken)

  def samples_of(self, step):
    """Returns (first, last) of the samples that `step`, counted from 1, read."""
    first = self.first_sample(step - 1)
    return first, first + self._horizon.batch_size_at(step - 1) - 1

  def batches(self, first_step):
    """Yields (first sample, size) of the batch of each step from `first_step` on."""
    for step in itertools.count(first_step):
      yield self.first_sample(step), self._horizon.batch_size_at(step)

  def after(self, step, to, extra_steps):
    """Returns these and a rollback from `step` to the state after step `to`.

    What the steps from `to` on had read is left out, and `extra_steps` batches more.
    """
    horizon = self._horizon
    samples = horizon.samples_at(step + extra_steps) - horizon.samples_at(to)
    return Detours(horizon, [*self.taken, Detour(step, to, samples)])

  def is_on_branch(self, step, record):
    """Returns whether a checkpoint of `step` lies on this way.

    `record` is what `as_json` gave when it was saved. One that a later rollback went
    back behind does not: it was trained on what that left out.
    """
    mine = self.as_json()
    is_start = mine[: len(record)] == record
    return is_start and all(detour['to'] >= step for detour in mine[len(record) :])

  def as_json(self):
    return [dataclasses.asdict(detour) for detour in self.taken]

  @classmethod
  def read(cls, horizon, events):
    """Returns the detours among the events of run.json."""
    names = [field.name for field in dataclasses.fields(Detour)]
    taken = [
      Detour(**{name: event[name] for name in names})
      for event in events
      if event['kind'] == 'rollback'
    ]
    return cls(horizon, taken)


def decide(detours, found, steps, guard):
  """Returns the detours that answer the RollBack `found`.

  `steps`: those with a checkpoint. Goes to the newest at least guard.rollback_steps
  back, else to the oldest, else to the start. Raises DivergedError after
  guard.max_rollbacks.
  """
  if len(detours.taken) >= guard.max_rollbacks:
    raise DivergedError(
      f'train/loss={found.event["loss"]:.4f} at step {found.step} is a spike again,'
      f' after {len(detours.taken)} rollbacks (guard.max_rollbacks): the run has'
      ' diverged.'
    )
  before = [step for step in steps if step < found.step]
  far = [step for step in before if step <= found.step - guard.rollback_steps]
  to = max(far) if far else min(before, default=0)
  return detours.after(found.step, to, guard.rollback_extra_steps)


def until(step, events):
  """Returns the events up to `step` and all rollbacks."""
  return [e for e in events if e['kind'] == 'rollback' or e['step'] <= step]


def said(event):
  """Returns a rollback's event as a sentence."""
  return (
    f'step {event["step"]}: loss {event["loss"]:.4f} is a spike (above'
    f' {event["highest_loss"]:.4f}); back to step {event["to"]}, leaving out'
    f' {event["samples"]} samples.'
  )
