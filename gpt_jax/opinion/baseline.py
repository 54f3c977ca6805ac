"""What is usual: the negative share of the first buckets, and how sure that is."""

import dataclasses
import math

import numpy as np

from gpt_jax.core.errors import DataError

NODES = 5
"""Shares that stand for all that the baseline may be, by Gauss-Hermite quadrature."""


@dataclasses.dataclass(frozen=True)
class Baseline:
  """The share of negative texts in control, as a distribution, and its overdispersion.

  A bucket of n texts has a beta-binomial count: binomial with a share of its own, whose
  variance is `correlation` times that of one text.
  """

  share: float
  logit_error: float
  """Standard error of the logit of `share`; 0 where it is given, not learned."""
  correlation: float
  """Between texts of one bucket: 0 where counts are binomial."""
  texts: int
  """Learned from; 0 where it is given."""
  buckets: int
  mean_count: float
  """Texts of a bucket, on average; 0 where the baseline is given."""

  def nodes(self):
    """Returns (shares, weights) [Q] of the quadrature over the share."""
    if not self.logit_error:
      return np.array([self.share]), np.ones(1)
    places, weights = np.polynomial.hermite_e.hermegauss(NODES)
    centre = math.log(self.share / (1 - self.share))
    shares = 1 / (1 + np.exp(-(centre + self.logit_error * places)))
    return shares, weights / weights.sum()


def given(share):
  """Returns the Baseline of a share that is known; DataError unless 0 < share < 1."""
  if not 0 < share < 1:
    raise DataError(f'the usual negative share is {share:g}; expected 0 < share < 1.')
  return Baseline(share, 0.0, 0.0, 0, 0, 0.0)


def learn(negative_M, total_M):
  """Returns the Baseline of buckets, counts of negative and of all texts in each.

  The share has half a text added to either side (Jeffreys' prior). The correlation is
  the moment estimate of overdispersed counts: as p' charts widen their limits where
  shares vary by more than chance (Laney 2002, "Improved control charts for
  attributes"), 0 where they vary by less.
  """
  negative_M, total_M = np.asarray(negative_M, float), np.asarray(total_M, float)
  is_used_M = total_M > 0
  negative_M, total_M = negative_M[is_used_M], total_M[is_used_M]
  if not len(total_M):
    raise DataError('a baseline needs buckets with texts; there are none.')
  texts = total_M.sum()
  share = (negative_M.sum() + 0.5) / (texts + 1)
  correlation = _correlation(negative_M, total_M, share)
  effect = (total_M * (1 + (total_M - 1) * correlation)).sum() / texts
  error = math.sqrt(effect / ((texts + 1) * share * (1 - share)))
  return Baseline(
    float(share), error, correlation, int(texts), len(total_M), float(total_M.mean())
  )


def _correlation(negative_M, total_M, share):
  """Returns the intraclass correlation by the method of moments, not below 0."""
  M, texts = len(total_M), total_M.sum()
  if M < 2:
    return 0.0
  gaps = (total_M * (negative_M / total_M - share) ** 2).sum()
  chance = (M - 1) * share * (1 - share)
  spread = texts - (total_M**2).sum() / texts - (M - 1)
  if spread <= 0:
    return 0.0
  found = (gaps - chance) / (share * (1 - share) * spread)
  return float(min(max(found, 0.0), 0.5))
