"""Shares of negative texts, with intervals, as counted and as the classifier errs."""

import dataclasses
import math

from gpt_jax.core.errors import DataError

Z = 1.959964
"""Normal quantile of a 95 % interval."""


@dataclasses.dataclass(frozen=True)
class ErrorRates:
  """What a validation set says of a classifier of negative texts."""

  negatives: int
  """Texts that are negative, and ..."""
  found: int
  """... how many of them are called so."""
  others: int
  cleared: int
  """Of the other texts those that are not called negative."""

  @property
  def sensitivity(self):
    return self.found / self.negatives

  @property
  def specificity(self):
    return self.cleared / self.others

  @property
  def youden(self):
    """Sensitivity + specificity - 1: 0 for a classifier that knows nothing."""
    return self.sensitivity + self.specificity - 1


def error_rates(names, confusion_CC, negative):
  """Returns the ErrorRates of counts with a row for each gold class of `names`.

  Raises DataError where the set lacks one of the two kinds.
  """
  own = list(names).index(negative)
  negatives, others, found, cleared = sum(confusion_CC[own]), 0, 0, 0
  found = confusion_CC[own][own]
  for row, counts in enumerate(confusion_CC):
    if row != own:
      others += sum(counts)
      cleared += sum(counts) - counts[own]
  if not negatives or not others:
    raise DataError(
      f'the validation set has {negatives} texts of {negative!r} and {others} others;'
      ' both are needed to correct shares for the errors of the classifier.'
    )
  return ErrorRates(negatives, found, others, cleared)


def wilson(count, total, z=Z):
  """Returns the interval of a share (Wilson 1927); (0, 1) of nothing."""
  if not total:
    return 0.0, 1.0
  middle = (count + z * z / 2) / (total + z * z)
  half = z / (total + z * z) * math.sqrt(count * (total - count) / total + z * z / 4)
  return max(0.0, middle - half), min(1.0, middle + half)


def corrected(share, rates):
  """Returns the share of texts that are negative, given the share called so.

  Rogan & Gladen 1978, "Estimating prevalence from the results of a screening test",
  clipped to 0 to 1.
  """
  return min(1.0, max(0.0, (share + rates.specificity - 1) / rates.youden))


def corrected_interval(count, total, rates, z=Z):
  """Returns the interval of `corrected`, errors of the error rates included.

  Lang & Reiczigel 2014, "Confidence limits for prevalence of disease adjusted for
  estimated sensitivity and specificity": an adjusted Wald interval around a shifted
  centre.
  """
  if not total:
    return 0.0, 1.0
  size = total + z * z
  share = (count + z * z / 2) / size
  se = (rates.found + 1) / (rates.negatives + 2)
  sp = (rates.cleared + 1) / (rates.others + 2)
  youden = se + sp - 1
  if youden <= 0:
    return 0.0, 1.0
  true = min(1.0, max(0.0, (share + sp - 1) / youden))
  se_error, sp_error = se * (1 - se) / rates.negatives, sp * (1 - sp) / rates.others
  shift = 2 * z * z * (true * se_error - (1 - true) * sp_error)
  variance = share * (1 - share) / size
  variance += true**2 * se_error + (1 - true) ** 2 * sp_error
  half = z * math.sqrt(variance) / youden
  return max(0.0, true + shift - half), min(1.0, true + shift + half)
