"""Correlations are the textbook's formulas."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation.regression_scores import regression_scores


def test_scores_are_those_of_the_formulas():
  rng = np.random.default_rng(0)
  gold_N = rng.normal(size=50)
  predicted_N = gold_N + rng.normal(size=50)
  metrics = regression_scores(gold_N, predicted_N).metrics
  ranks = [values.argsort().argsort() for values in (gold_N, predicted_N)]
  assert metrics['pearson'] == pytest.approx(np.corrcoef(gold_N, predicted_N)[0, 1])
  assert metrics['spearman'] == pytest.approx(np.corrcoef(*ranks)[0, 1])
  assert metrics['mse'] == pytest.approx(np.mean((gold_N - predicted_N) ** 2))


def test_spearman_gives_ties_their_mean_rank():
  # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
  metrics = regression_scores([1, 2, 2, 9], [1, 2, 3, 4]).metrics
  assert metrics['spearman'] == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


def test_a_monotonic_prediction_has_the_same_ranks():
  scores = regression_scores([1, 2, 3, 4], [1, 8, 27, 64])
  assert scores.metrics['spearman'] == pytest.approx(1)
  assert scores.metrics['pearson'] < 1
  assert scores.details == dict(constant_predictions=False)


def test_equal_predictions_correlate_with_nothing():
  scores = regression_scores([1.0, 3.0], [2.0, 2.0])
  assert scores.metrics == dict(pearson=0.0, spearman=0.0, mse=1.0)
  assert scores.details == dict(constant_predictions=True)


def test_nothing_correlates_with_equal_labels():
  for predicted in ([1.0, 4.0], [4.0, 1.0], [0.0, 0.0]):
    scores = regression_scores([2.0, 2.0], predicted)
    assert scores.json_metrics()['pearson'] is scores.json_metrics()['spearman'] is None
    assert 'all labels are 2' in scores.undefined
  assert scores.metrics['mse'] == 4.0
  assert not regression_scores([1.0, 3.0], [2.0, 2.0]).undefined


@pytest.mark.parametrize(
  'gold, predicted, message',
  [
    ([], [], 'there are no examples'),
    ([1.0, float('nan')], [1.0, 2.0], r'gold\[1\]=nan'),
    ([1.0, 2.0], [1.0], '2 of gold, 1 of predicted'),
  ],
)
def test_what_cannot_be_scored_is_refused(gold, predicted, message):
  with pytest.raises(DataError, match=message):
    regression_scores(gold, predicted)
