"""What a chart promises before it starts: false alarms a day, and delays of a rise."""

import dataclasses

import numpy as np

from gpt_jax.opinion import control_chart

BURN_IN = 40
"""Buckets in control before a rise: limits have settled by then."""
LONGEST = 500
"""Buckets after a rise that are followed."""
DAY = 86_400.0


@dataclasses.dataclass(frozen=True)
class Promise:
  """How often a monitor alarms for nothing."""

  charts: int
  alpha: float
  """The chance of a false alarm in a bucket of one chart, at most."""
  per_day: float
  """Over all charts."""

  @property
  def run_length(self):
    """Mean number of buckets to a false alarm of one chart, at least."""
    return 1 / self.alpha


def promise(per_day, charts, bucket_seconds):
  """Returns the Promise of `charts` that share `per_day` false alarms a day."""
  alpha = per_day * bucket_seconds / DAY / charts
  return Promise(charts, alpha, per_day)


def delay(baseline, alpha, smoothing, total, rise):
  """Returns (mean, 90 % quantile) of the buckets until a rise is found.

  The share rises by `rise` (0.1 is ten points) and stays there, in buckets of `total`
  texts; 1 is the first of them. The distribution of z is carried along under the higher
  share, inside the limits of `control_chart`. The mean counts at most LONGEST buckets.
  """
  chart = control_chart.Chart(baseline, alpha, smoothing)
  for _ in range(BURN_IN):
    chart.advance(total)
  share = min(baseline.share + rise, 0.999)
  pmf_K = control_chart.pmf(total, share, baseline.correlation)
  mass_G = chart.mass_QG.sum(axis=0)
  left, mean, late = 1.0, 0.0, LONGEST
  for number in range(1, LONGEST + 1):
    mean += left
    lower, upper = chart.advance(total)
    mass_G = control_chart.spread(mass_G, pmf_K, total, smoothing)
    cells_G = np.arange(len(mass_G)) / control_chart.CELLS
    mass_G = np.where((cells_G < lower) | (cells_G > upper), 0.0, mass_G)
    left = float(mass_G.sum())
    if left <= 0.1:
      late = min(late, number)
    if left < 1e-4:
      break
  return mean, late
