"""Which samples a step reads: arithmetic on the step, and the rollbacks before it.

A rollback from step s to c skips what the steps after c had read, and some more. It is
in run.json before anything else happens: a resumed run reads the same.
"""

import dataclasses
import itertools

from gpt_jax.core.errors import DivergedError


@dataclasses.dataclass(frozen=True)
class Spike:
  """A loss to be answered by a rollback."""

  step: int  # counted from 1
  event: dict  # its entry in run.json
  history: list[dict]  # losses of the steps before, for a post-mortem


@dataclasses.dataclass(frozen=True)
class Rollback:
  """From now on, steps after `to` read `samples` later than they would have."""

  step: int  # that of the spike
  to: int
  samples: int


class Rollbacks:
  """All rollbacks of a run on its Horizon, the oldest first."""

  def __init__(self, horizon, taken=()):
    self._horizon, self.taken = horizon, tuple(taken)

  @property
  def first_step(self):
    """Returns the step from which on batches are those of the present config."""
    return self._horizon.first_step

  def first_sample(self, step):
    """Returns the first sample that is read once `step` steps are done."""
    # Those rollbacks count that returned to `step` or before, and all before them.
    taken = self.taken
    while taken and taken[-1].to > step:
      taken = taken[:-1]
    return self._horizon.samples_at(step) + sum(rollback.samples for rollback in taken)

  def samples_of(self, step):
    """Returns (first, last) of the samples that `step`, counted from 1, reads."""
    first = self.first_sample(step - 1)
    return first, first + self._horizon.batch_size_at(step - 1) - 1

  def batches(self, first_step):
    """Yields (first sample, size) of the batch of each step from `first_step` on."""
    for step in itertools.count(first_step):
      yield self.first_sample(step), self._horizon.batch_size_at(step)

  def after(self, step, to, extra_steps):
    """Returns these and one that skips all data read so far and `extra_steps` more."""
    horizon = self._horizon
    samples = horizon.samples_at(step + extra_steps) - horizon.samples_at(to)
    return Rollbacks(horizon, [*self.taken, Rollback(step, to, samples)])

  def is_on_branch(self, step, record):
    """Returns whether a checkpoint with this `record` read what this run reads."""
    # One beyond the step that a later rollback returned to read what that one skips.
    mine = self.as_json()
    is_start = mine[: len(record)] == record
    return is_start and all(later['to'] >= step for later in mine[len(record) :])

  def as_json(self):
    return [dataclasses.asdict(rollback) for rollback in self.taken]

  @classmethod
  def read(cls, horizon, events):
    """Returns the rollbacks among the events of run.json."""
    names = [field.name for field in dataclasses.fields(Rollback)]
    return cls(
      horizon,
      [
        Rollback(**{name: event[name] for name in names})
        for event in events
        if event['kind'] == 'rollback'
      ],
    )


def decide(rollbacks, spike, saved_steps, cfg):
  """Returns `rollbacks` and the one that answers `spike`; `cfg` is a GuardConfig.

  It returns to the newest checkpoint at least guard.rollback_steps back, else to the
  oldest, else to the start of the run or of its present batches. Raises DivergedError
  after guard.max_rollbacks.
  """
  if len(rollbacks.taken) >= cfg.max_rollbacks:
    raise DivergedError(
      f'train/loss={spike.event["loss"]:.4f} at step {spike.step} is a spike again,'
      f' after {len(rollbacks.taken)} rollbacks (guard.max_rollbacks): the run has'
      ' diverged.'
    )
  # Those before had other batches, which this program does not make (`horizon.Past`).
  first = rollbacks.first_step
  before = [step for step in saved_steps if first <= step < spike.step]
  far = [step for step in before if step <= spike.step - cfg.rollback_steps]
  to = max(far) if far else min(before, default=first)
  return rollbacks.after(spike.step, to, cfg.rollback_extra_steps)


def describe(event):
  """Returns the event of a rollback as a sentence."""
  return (
    f'step {event["step"]}: loss {event["loss"]:.4f} is a spike (above'
    f' {event["highest_loss"]:.4f}); back to step {event["to"]}, skipping'
    f' {event["samples"]} samples.'
  )
