"""Scores of predicted numbers: correlations and the mean squared error."""

import math

import numpy as np
import scipy.stats

from gpt_jax.evaluation import aligned
from gpt_jax.evaluation.scores import Scores

METRIC = 'Scores of numbers'


def regression_scores(gold, predicted):
  """Returns the `Scores` of one predicted number an example.

  Metrics: pearson and spearman (ranks, mean ranks for ties), of scipy, and mse. Equal
  predictions have no correlation with anything: it is given as 0, and the detail
  `constant_predictions` is true. Where gold numbers are all equal, as one alone is,
  correlations are nan.

  Raises DataError on no examples, other lengths, or numbers that are not finite.
  """
  aligned.require_aligned(METRIC, gold=gold, predicted=predicted)
  gold_N = aligned.finite_numbers(METRIC, 'gold', gold)
  predicted_N = aligned.finite_numbers(METRIC, 'predicted', predicted)
  is_constant, undefined = bool(np.ptp(predicted_N) == 0), ''
  metrics = dict(pearson=0.0, spearman=0.0)
  if np.ptp(gold_N) == 0:
    metrics = dict(pearson=math.nan, spearman=math.nan)
    undefined = f'all labels are {gold_N[0]:g}, with which nothing correlates'
  elif not is_constant:
    metrics = dict(
      pearson=_statistic(scipy.stats.pearsonr, gold_N, predicted_N),
      spearman=_statistic(scipy.stats.spearmanr, gold_N, predicted_N),
    )
  metrics['mse'] = float(np.mean((gold_N - predicted_N) ** 2))
  return Scores(metrics, dict(constant_predictions=is_constant), undefined)


def _statistic(test, gold_N, predicted_N):
  return float(test(gold_N, predicted_N)[0])
