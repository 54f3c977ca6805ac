"""Means over seeds, their spread, and the paired test between two rows."""

import dataclasses
import math
from typing import Any

import numpy as np

from gpt_jax.analysis.results import NotEnoughData


@dataclasses.dataclass(frozen=True)
class Summary:
  """A metric over the seeds of one line of a table."""

  values: dict[int, float]  # seed -> value, of those that are there
  num_wanted: int  # seeds that the study has for it

  @property
  def mean(self):
    return float(np.mean(list(self.values.values()))) if self.values else math.nan

  @property
  def spread(self):
    """The sample standard deviation over seeds; NaN of fewer than two, or infinity."""
    values = list(self.values.values())
    if len(values) < 2 or not np.all(np.isfinite(values)):
      return math.nan
    return float(np.std(values, ddof=1))

  @property
  def is_whole(self):
    return len(self.values) == self.num_wanted


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Two rows with the same seeds: the mean difference and how sure it is."""

  difference: float  # mean over seeds of one minus other
  p_value: float  # two-sided paired t-test; NaN of fewer than two seeds
  num_seeds: int


def compare(one, other):
  """Returns the Comparison of two `{seed: value}` over the seeds that both have.

  NotEnoughData where they share none. Differences that are all equal have p 0, all
  zero p 1, as the limits of the t-test.
  """
  shared = sorted(one.keys() & other.keys())
  if not shared:
    raise NotEnoughData('no seed is finished in both.')
  first = np.array([one[seed] for seed in shared], float)
  second = np.array([other[seed] for seed in shared], float)
  difference = float(np.mean(first - second))
  return Comparison(difference, paired_p(first, second), len(shared))


def paired_p(first, second, alternative='two-sided', margin=0.0):
  """Returns the p value of a paired t-test of `first` against `second` plus `margin`.

  `alternative`: `two-sided`, `less` or `greater`, as in `scipy.stats.ttest_rel`. NaN of
  fewer than two pairs, or of numbers that are not finite.
  """
  from scipy import stats

  differences = np.asarray(first, float) - np.asarray(second, float) - margin
  if len(differences) < 2 or not np.all(np.isfinite(differences)):
    return math.nan
  # Without variance, rounding aside, the statistic is 0/0 or infinite.
  scale = max(np.max(np.abs(first)), np.max(np.abs(second)), abs(margin))
  if np.ptp(differences) <= 1e-12 * scale:
    shift = float(np.round(differences[0] / (scale or 1.0), 12))
    is_so = {'two-sided': shift != 0, 'less': shift < 0, 'greater': shift > 0}
    return 0.0 if is_so[alternative] else 1.0
  found: Any = stats.ttest_1samp(differences, 0.0, alternative=alternative)
  return float(found.pvalue)
