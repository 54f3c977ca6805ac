"""The majority baseline counts classes."""

import pytest

from gpt_jax.baselines import majority
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation.regression_scores import regression_scores


def test_the_most_frequent_class_and_the_shares_of_all():
  model = majority.fit(['b', 'b', 'a', 1], ['a', 'b', 'c'])
  assert model.predict(['x', 'y']) == ['b', 'b']
  assert model.probabilities(['x', 'y']).tolist() == [[0.25, 0.75, 0.0]] * 2
  assert model.probabilities([]).shape == (0, 3)


def test_of_equal_classes_the_first_name_counts():
  assert majority.fit(['b', 'a'], ['a', 'b']).predict(['x']) == ['a']


def test_priors_have_the_lowest_squared_error_of_constants():
  labels = [0] * 7 + [1] * 3
  prior = majority.fit(labels, ['no', 'yes']).priors[1]
  squared = {
    p: regression_scores(labels, [p] * 10).metrics['mse']
    for p in (0.1, 0.2, prior, 0.4, 0.5)
  }
  assert min(squared, key=squared.__getitem__) == prior == 0.3


def test_no_labels_and_unknown_ones_are_refused():
  with pytest.raises(DataError, match='no training labels'):
    majority.fit([], ['a', 'b'])
  with pytest.raises(DataError, match='unknown label'):
    majority.fit(['c'], ['a', 'b'])
