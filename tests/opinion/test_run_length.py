"""Promises before a start: false alarms a day, and the delay of a rise."""

import numpy as np
import pytest

from gpt_jax.opinion import baseline, control_chart, run_length


def test_charts_share_the_false_alarms_of_a_day():
  found = run_length.promise(0.1, charts=5, bucket_seconds=3600)
  assert found.alpha * 24 * 5 == pytest.approx(0.1)
  assert found.run_length == pytest.approx(1200)


def test_the_delay_of_a_rise_is_that_of_a_simulation():
  usual, alpha, total = baseline.given(0.3), 1 / 1000, 60
  mean, late = run_length.delay(usual, alpha, 0.2, total, 0.15)
  chart, rng = control_chart.Chart(usual, alpha, 0.2), np.random.default_rng(0)
  z, found = np.full(5000, 0.3), np.zeros(5000)
  for number in range(run_length.BURN_IN + 40):
    lower, upper = chart.advance(total)
    is_risen = number >= run_length.BURN_IN
    share = 0.45 if is_risen else 0.3
    z = z + 0.2 * (rng.binomial(total, share, 5000) / total - z)
    if is_risen:
      is_first = (found == 0) & ((z > upper) | (z < lower))
      found[is_first] = number - run_length.BURN_IN + 1
  assert (found > 0).all()
  assert mean == pytest.approx(found.mean(), rel=0.05)
  assert late == np.quantile(found, 0.9)


def test_a_greater_rise_is_found_sooner():
  usual = baseline.given(0.2)
  means = [run_length.delay(usual, 0.001, 0.2, 40, r)[0] for r in (0.05, 0.1, 0.3)]
  assert means[0] > means[1] > means[2] >= 1
