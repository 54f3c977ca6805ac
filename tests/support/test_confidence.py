"""The threshold below which nothing is answered."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.retrieval.passages import Passage
from gpt_jax.retrieval.search import Hit
from gpt_jax.support import answer, confidence


def examples(count=60, seed=0):
  """Returns features of answerable and other questions that overlap, and which is."""
  rng = np.random.default_rng(seed)
  wanted_N = np.arange(count) % 2 == 0
  features_ND = rng.normal(size=(count, 3)) + 1.5 * wanted_N[:, None]
  return features_ND * (1, 0.1, 5), wanted_N


def test_the_fit_is_where_the_penalized_likelihood_is_flat():
  features_ND, wanted_N = examples()
  found = confidence.fit(features_ND, wanted_N)
  unit_ND = (features_ND - features_ND.mean(0)) / features_ND.std(0)
  error_N = np.array([found.probability(one) for one in features_ND]) - wanted_N
  gradient_D = unit_ND.T @ error_N + confidence.L2 * np.array(found.weights)
  np.testing.assert_allclose(gradient_D, 0, atol=1e-6)
  assert error_N.sum() == pytest.approx(0, abs=1e-3)


def test_no_threshold_has_a_smaller_sum_of_errors():
  probability_N = np.array([0.9, 0.8, 0.3, 0.6, 0.2, 0.1])
  wanted_N = np.array([True, True, True, False, False, False])
  threshold, rates = confidence.choose_threshold(probability_N, wanted_N)
  every = np.linspace(0, 1, 101)
  sums = [sum(confidence.error_rates(probability_N, wanted_N, t)) for t in every]
  assert sum(rates) == pytest.approx(min(sums)) == pytest.approx(1 / 3)
  assert rates == confidence.error_rates(probability_N, wanted_N, threshold)


def test_held_out_errors_are_near_those_of_the_fit():
  found = confidence.fit(*examples(400))
  features_ND, wanted_N = examples(400, seed=1)
  probability_N = [found.probability(one) for one in features_ND]
  rates = confidence.error_rates(probability_N, wanted_N, found.threshold)
  assert abs(rates[0] - found.false_answers) < 0.07
  assert abs(rates[1] - found.false_refusals) < 0.07


def test_it_is_kept_by_answerer(tmp_path):
  one, other = confidence.fit(*examples()), confidence.fit(*examples(seed=1))
  assert confidence.load(tmp_path, 'a') is None
  confidence.save(tmp_path, 'a', one)
  confidence.save(tmp_path, 'b', other)
  assert confidence.load(tmp_path, 'a') == one
  assert confidence.load(tmp_path, 'b') == other
  assert confidence.load(tmp_path, 'c') is None


def test_few_examples_of_a_kind_are_refused():
  features_ND, _ = examples(20)
  with pytest.raises(DataError, match='3 questions are answered .* and 17 are not'):
    confidence.fit(features_ND, np.arange(20) < 3)


def test_features_are_those_of_the_best_hit():
  hits = [
    Hit(1, Passage('a', '', 'x'), 4.0, 0.5, 1.0),
    Hit(2, Passage('a', '', 'y'), 6.0, 0.2, 0.5),
  ]
  found = answer.Answer('x', 0, -1.5)
  assert confidence.features_of('lamp bulbs', hits, found) == (3.0, 0.5, -1.5)
  assert confidence.features_of('', [], answer.NONE) == (0.0, 0.0, answer.LEAST)
