"""The control chart against simulation, exact quantiles, and its own saved state."""

import numpy as np
import pytest
from scipy import stats

from gpt_jax.opinion import baseline, control_chart

ALPHA = 1 / 200


def simulated_run_length(usual, smoothing, share, total, buckets=150, streams=8000):
  """Returns the mean run length of streams whose share is `share`, by their hazard."""
  chart = control_chart.Chart(usual, ALPHA, smoothing)
  rng, z = np.random.default_rng(0), np.full(streams, usual.share)
  alive, at_risk, signals = np.ones(streams, bool), 0, 0
  for lower, upper in (chart.advance(total) for _ in range(buckets)):
    z = z + smoothing * (rng.binomial(total, share, streams) / total - z)
    is_out = (z < lower) | (z > upper)
    at_risk, signals = at_risk + alive.sum(), signals + (alive & is_out).sum()
    alive &= ~is_out
  return at_risk / signals


@pytest.mark.parametrize('smoothing, share, total', [(0.2, 0.3, 60), (0.3, 0.1, 20)])
def test_false_alarms_are_as_rare_as_stated(smoothing, share, total):
  usual = baseline.given(share)
  found = simulated_run_length(usual, smoothing, share, total)
  # Counts are whole numbers, so that limits are a little wider than asked.
  assert 0.95 / ALPHA < found < 1.2 / ALPHA


def test_false_alarms_stay_rare_where_the_share_was_learned():
  rng, lengths = np.random.default_rng(1), []
  for _ in range(12):
    usual = baseline.learn(rng.binomial(60, 0.3, 24), np.full(24, 60))
    found = simulated_run_length(usual, 0.2, 0.3, 60, buckets=60, streams=400)
    lengths.append(min(found, 1e6))
  # The mean chance of a false alarm in a bucket, over what may have been learned.
  assert np.mean(1 / np.array(lengths)) < 1.3 * ALPHA


def test_a_p_chart_has_the_exact_binomial_limits():
  chart = control_chart.Chart(baseline.given(0.3), 0.01, 1.0)
  lower, upper = chart.advance(50)
  inside = [k for k in range(51) if lower <= k / 50 <= upper]
  assert stats.binom.cdf(inside[0] - 1, 50, 0.3) <= 0.005
  assert stats.binom.cdf(inside[0], 50, 0.3) > 0.005
  assert stats.binom.sf(inside[-1], 50, 0.3) <= 0.005
  assert stats.binom.sf(inside[-1] - 1, 50, 0.3) > 0.005


def test_the_grid_carries_mean_and_variance_of_the_ewma():
  chart = control_chart.Chart(baseline.given(0.3), 1e-12, 0.25)
  for _ in range(60):
    chart.advance(80)
  cells_G = np.arange(control_chart.CELLS + 1) / control_chart.CELLS
  mass_G = chart.mass_QG.sum(axis=0)
  mean = (mass_G * cells_G).sum()
  assert mean == pytest.approx(0.3, abs=1e-4)
  want = 0.25 / 1.75 * 0.21 / 80  # lambda / (2 - lambda) p (1 - p) / n
  assert (mass_G * (cells_G - mean) ** 2).sum() == pytest.approx(want, rel=0.01)


def test_few_texts_give_wider_limits():
  chart = control_chart.Chart(baseline.given(0.3), ALPHA, 0.3)
  few, many = (
    np.diff(control_chart.Chart(baseline.given(0.3), ALPHA, 0.3).advance(n))
    for n in (5, 500)
  )
  assert few > 3 * many
  assert chart.step(100, 100).side == 1
  assert control_chart.Chart(baseline.given(0.3), ALPHA, 0.3).step(0, 100).side == -1


def test_a_restored_chart_continues_bit_by_bit():
  usual = baseline.learn([20, 25, 30], [80, 80, 90])
  one = control_chart.Chart(usual, ALPHA, 0.2)
  other = control_chart.Chart(usual, ALPHA, 0.2)
  for counts in ((20, 70), (31, 90)):
    one.step(*counts)
  other.restore(one.to_json())
  assert [one.step(30, 80), one.step(9, 40)] == [other.step(30, 80), other.step(9, 40)]
