"""The click rate of each item, whoever the user is."""

import collections
import dataclasses

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned

PRIOR_COUNT = 10.0
"""An item's rate weighs as much as this many examples of the mean rate at start."""


@dataclasses.dataclass(frozen=True)
class Popularity:
  """Smoothed click rates."""

  mean: float
  rates: dict

  def probabilities(self, items):
    """Returns the click probability of each item; the mean for one never seen."""
    return np.array([self.rates.get(item, self.mean) for item in items])


def fit(items, labels, prior_count=PRIOR_COUNT):
  """Returns the `Popularity` of training examples: (clicks + n m) / (examples + n).

  Args:
    items: the item of each example.
    labels: 1 for a click, 0 for none.
    prior_count: n, above 0; m is the mean of the labels.

  Raises DataError on no examples, other lengths, or labels that are not 0 or 1.
  """
  aligned.require_aligned('Popularity', items=items, labels=labels)
  require_clicks('Popularity', labels)
  if not prior_count > 0:
    raise DataError(f'Popularity: prior_count={prior_count}: expected above 0.')
  clicks, shown = collections.Counter(), collections.Counter(items)
  for item, label in zip(items, labels, strict=True):
    clicks[item] += int(label)
  mean = clicks.total() / len(items)
  rates = {
    item: (clicks[item] + prior_count * mean) / (count + prior_count)
    for item, count in shown.items()
  }
  return Popularity(mean, rates)


def require_clicks(baseline, labels):
  """Raises DataError at the first label that is neither 0 nor 1."""
  for row, label in enumerate(labels):
    if label not in (0, 1):
      raise DataError(f'{baseline}: labels[{row}]={label!r}: expected 0 or 1.')
