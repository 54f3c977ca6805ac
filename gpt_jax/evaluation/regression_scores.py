"""Scores of predicted numbers: correlations and the mean squared error."""

import numpy as np
import scipy.stats

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned
from gpt_jax.evaluation.scores import Scores

METRIC = 'Scores of numbers'


def regression_scores(gold, predicted):
  """Returns the `Scores` of one predicted number an example.

  Metrics: pearson and spearman (ranks, mean ranks for ties), of scipy, and mse. Equal
  predictions have no correlation with anything: it is given as 0, and the detail
  `constant_predictions` is true.

  Raises DataError on other lengths, fewer than two examples, numbers that are not
  finite, or gold numbers that are all equal.
  """
  aligned.require_aligned(METRIC, gold=gold, predicted=predicted)
  gold_N = aligned.finite_numbers(METRIC, 'gold', gold)
  predicted_N = aligned.finite_numbers(METRIC, 'predicted', predicted)
  if np.ptp(gold_N) == 0:
    raise DataError(
      f'{METRIC}: all {len(gold_N)} gold numbers are {gold_N[0]:g}, so that nothing'
      ' correlates with them; give examples that differ.'
    )
  is_constant = bool(np.ptp(predicted_N) == 0)
  metrics = dict(pearson=0.0, spearman=0.0)
  if not is_constant:
    metrics = dict(
      pearson=_statistic(scipy.stats.pearsonr, gold_N, predicted_N),
      spearman=_statistic(scipy.stats.spearmanr, gold_N, predicted_N),
    )
  metrics['mse'] = float(np.mean((gold_N - predicted_N) ** 2))
  return Scores(metrics, dict(constant_predictions=is_constant))


def _statistic(test, gold_N, predicted_N):
  return float(test(gold_N, predicted_N)[0])
