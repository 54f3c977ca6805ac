"""Which steps of a run are kept: the newest ones and those with the best metric."""

import dataclasses
import math

import orbax.checkpoint as ocp

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest


@dataclasses.dataclass
class BestSteps(ocp.checkpoint_managers.PreservationPolicy):
  """Keeps the `count` steps with the best `metric`; of equals the later one."""

  # Orbax's BestN reads each step's metrics at start, where one damaged file would close
  # the whole folder, and it ranks NaN.

  metric: str
  count: int
  mode: str = 'min'  # lower is better; or max
  scores: dict[int, float] = dataclasses.field(default_factory=dict)

  def should_preserve(self, checkpoints, *, context):
    best = self.ranked([c.step for c in checkpoints])[: self.count]
    return [c.step in best for c in checkpoints]

  def ranked(self, steps):
    """Returns those of `steps` that have the metric, the best first."""
    scored = [step for step in steps if step in self.scores]
    sign = -1 if self.mode == 'max' else 1
    return sorted(scored, key=lambda step: (sign * self.scores[step], -step))

  def record(self, step, metrics):
    if self.metric in metrics:
      self.scores[step] = metrics[self.metric]

  def discard(self, step):
    self.scores.pop(step, None)

  def finite(self, metrics):
    """Returns the finite ones of `metrics` as floats; ConfigError if `metric` lacks."""
    if metrics and self.count and self.metric not in metrics:
      hint = nearest(self.metric, metrics)
      raise ConfigError(
        f'checkpoint.best_metric={self.metric!r}: expected one of {sorted(metrics)}'
        + (f'; did you mean {hint!r}?' if hint else '.')
      )
    return {k: float(v) for k, v in metrics.items() if math.isfinite(v)}


def why_kept(steps, best):
  """Returns `{step: reason}` of ascending `steps`; `best` is their BestSteps."""
  reasons = {step: [] for step in steps}
  if steps:
    reasons[steps[-1]].append('newest')
  for rank, step in enumerate(best.ranked(steps)[: best.count], start=1):
    reasons[step].append(f'best {best.metric}' if rank == 1 else f'best {rank}')
  return {step: ', '.join(why) or 'one of the last' for step, why in reasons.items()}
