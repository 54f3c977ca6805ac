"""Baselines: the share, how surely it is known, and overdispersion."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.opinion import baseline


def test_binomial_counts_have_hardly_any_correlation():
  rng = np.random.default_rng(0)
  found = baseline.learn(rng.binomial(50, 0.3, 400), np.full(400, 50))
  assert found.share == pytest.approx(0.3, abs=0.01)
  assert found.correlation < 0.003
  assert found.logit_error == pytest.approx(1 / np.sqrt(20_000 * 0.21), rel=0.15)


def test_the_correlation_of_beta_binomial_counts_is_found():
  rng = np.random.default_rng(0)
  totals = rng.integers(20, 80, 2000)
  shares = rng.beta(0.3 * 19, 0.7 * 19, 2000)  # correlation 1 / 20
  found = baseline.learn(rng.binomial(totals, shares), totals)
  assert found.correlation == pytest.approx(0.05, abs=0.006)


def test_nodes_have_the_mean_and_the_error_of_the_logit():
  found = baseline.learn([30, 20, 25], [100, 100, 100])
  shares_Q, weights_Q = found.nodes()
  logits_Q = np.log(shares_Q / (1 - shares_Q))
  mean = (weights_Q * logits_Q).sum()
  assert weights_Q.sum() == pytest.approx(1)
  assert mean == pytest.approx(np.log(found.share / (1 - found.share)))
  variance = (weights_Q * (logits_Q - mean) ** 2).sum()
  assert np.sqrt(variance) == pytest.approx(found.logit_error)


def test_a_baseline_without_negative_texts_is_no_zero():
  assert 0 < baseline.learn([0, 0], [10, 0]).share < 0.1


def test_what_is_no_baseline_is_refused():
  with pytest.raises(DataError, match='buckets with texts'):
    baseline.learn([0], [0])
  with pytest.raises(DataError, match='expected 0 < share < 1'):
    baseline.given(1.0)
