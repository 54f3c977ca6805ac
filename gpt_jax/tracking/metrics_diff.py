"""Where the metrics of two runs part: in any bit, and beyond what rounding explains."""

import dataclasses
import math

from gpt_jax.tracking import metrics_file

CLOCK_METRICS = (
  'time', 'train/tokens_per_second', 'train/mfu', 'train/compile_seconds',
  'train/compile_cache_hit',
)  # fmt: skip
"""Metrics in which two equal runs may differ."""


NORM_FACTOR = 20
"""How much further rounding moves the norm of gradients than a loss, which is a mean
over many targets: 5 to 60 times in trial runs (docs/runs.md)."""


@dataclasses.dataclass(frozen=True)
class Difference:
  """One metric at one step of two runs; None: not finite, or not a number."""

  step: int
  metric: str
  first: float | None
  second: float | None

  @property
  def relative(self):
    """Returns |first - second| over the larger of the two; infinity if one is None."""
    if self.first is None or self.second is None:
      return math.inf
    larger = max(abs(self.first), abs(self.second))
    return abs(self.first - self.second) / larger if larger else 0.0

  def to_dict(self):
    """Returns JSON values; `relative` is None where it is infinite."""
    relative = self.relative if math.isfinite(self.relative) else None
    return dataclasses.asdict(self) | dict(relative=relative)


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What two metrics files say at the steps that both have."""

  steps: tuple[int, ...]  # compared
  metrics: tuple[str, ...]  # compared at one of them at least
  tolerance: float  # of losses, as a share of them
  parts_at: tuple[Difference, ...]  # all that differ at the first step that has any
  beyond_at: tuple[Difference, ...]  # ... that has one beyond the tolerance
  largest: dict[str, Difference]  # of each metric that has a difference

  @property
  def is_bitwise(self):
    return bool(self.metrics) and not self.parts_at

  @property
  def is_within_tolerance(self):
    return bool(self.metrics) and not self.beyond_at


def tolerance_of(metric, tolerance):
  """Returns by which share rounding may move a metric; None: no share is small.

  `tolerance` is that of a loss. Counts, such as an accuracy, jump by whole targets.
  """
  name = metric.rpartition('/')[2]
  return {'loss': tolerance, 'grad_norm': NORM_FACTOR * tolerance}.get(name)


def compare(first, second, tolerance, up_to=math.inf):
  """Returns the Comparison of two `{step: {metric: value}}` up to a step, inclusive.

  `tolerance`: the share by which losses may differ; norms of gradients NORM_FACTOR
  times that.
  """
  steps = tuple(sorted(step for step in first.keys() & second.keys() if step <= up_to))
  names, parts_at, beyond_at, largest = {}, (), (), {}
  for step in steps:
    common = first[step].keys() & second[step].keys()
    compared = sorted(common - set(CLOCK_METRICS))
    names |= dict.fromkeys(compared)
    found = [Difference(step, n, first[step][n], second[step][n]) for n in compared]
    found = [each for each in found if each.first != each.second]
    for each in found:
      known = largest.get(each.metric)
      if known is None or each.relative > known.relative:
        largest[each.metric] = each
    parts_at = parts_at or tuple(found)
    beyond_at = beyond_at or tuple(
      each for each in found if _is_beyond(each, tolerance)
    )
  return Comparison(
    steps, tuple(sorted(names)), tolerance, parts_at, beyond_at, largest
  )


def _is_beyond(difference, tolerance):
  allowed = tolerance_of(difference.metric, tolerance)
  return allowed is not None and difference.relative > allowed


def by_step(path):
  """Returns `{step: {metric: value}}` of a metrics.jsonl; the last line counts.

  None is a value too: that of a metric that was not finite.
  """
  merged = {}
  for record in metrics_file.read_lines(path):
    merged.setdefault(record['step'], {}).update(
      {name: value for name, value in record.items() if name != 'step'}
    )
  return merged
