"""Shares and their intervals: identities, references, and coverage by simulation."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.opinion import shares

RATES = shares.ErrorRates(negatives=400, found=352, others=500, cleared=450)


def test_error_rates_of_two_and_of_three_classes():
  found = shares.error_rates(['neg', 'pos'], [[8, 2], [1, 9]], 'neg')
  assert (found.sensitivity, found.specificity) == (0.8, 0.9)
  counts = [[5, 0, 0], [1, 7, 2], [0, 1, 4]]
  found = shares.error_rates(['a', 'neg', 'b'], counts, 'neg')
  assert (found.negatives, found.found, found.others, found.cleared) == (10, 7, 10, 9)


def test_a_validation_set_of_one_kind_is_refused():
  with pytest.raises(DataError, match='0 others'):
    shares.error_rates(['neg', 'pos'], [[8, 2], [0, 0]], 'neg')


def test_correction_undoes_the_errors_of_a_classifier():
  for true in (0.0, 0.2, 0.7, 1.0):
    called = true * RATES.sensitivity + (1 - true) * (1 - RATES.specificity)
    assert shares.corrected(called, RATES) == pytest.approx(true)
  assert shares.corrected(0.0, RATES) == 0.0


def test_the_wilson_interval_is_that_of_scipy():
  from scipy import stats

  for count, total in ((0, 10), (3, 10), (480, 500)):
    want = stats.binomtest(count, total).proportion_ci(0.95, 'wilson')
    assert shares.wilson(count, total) == pytest.approx((want.low, want.high), abs=1e-6)
  assert shares.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize('true, total', [(0.1, 60), (0.3, 60), (0.3, 500)])
def test_the_corrected_interval_covers_as_often_as_it_says(true, total):
  rng, hits = np.random.default_rng(0), 0
  for _ in range(1500):
    found, cleared = rng.binomial(400, 0.88), rng.binomial(300, 0.9)
    rates = shares.ErrorRates(400, found, 300, cleared)
    count = rng.binomial(total, true * 0.88 + (1 - true) * 0.1)
    low, high = shares.corrected_interval(count, total, rates)
    hits += low <= true <= high
  assert 0.93 < hits / 1500 < 0.985  # three standard errors of a simulation below 0.95


def test_a_useless_classifier_says_nothing_of_the_share():
  rates = shares.ErrorRates(10, 5, 10, 5)
  assert shares.corrected_interval(5, 20, rates) == (0.0, 1.0)
