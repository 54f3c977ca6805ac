"""The range of an axis holds all data, and reference lines that are near."""

import math

import numpy as np
import pytest

from gpt_jax.plots import ranges


def test_all_data_and_a_near_line_are_inside():
  low, high = ranges.limits([1.0, 2.0], [2.5])
  assert (low, high) == pytest.approx((1.0 - 0.09, 2.5 + 0.09))


def test_a_far_line_stays_outside_and_a_near_one_does_not():
  low, high = ranges.limits([2.13, 2.16], [1.2, 2.2])
  assert low > 1.2 and high > 2.2


@pytest.mark.parametrize('share, is_inside', [(0.26, True), (0.24, False)])
def test_the_data_keep_a_quarter_of_the_axis(share, is_inside):
  _, high = ranges.limits([0.0, share], [1.0])
  assert (high > 1.0) == is_inside


def test_a_logarithmic_range_is_one_of_ratios():
  low, high = ranges.limits([0.01, 1.0, 0.0, -3.0], is_log=True)
  assert math.log10(low) == pytest.approx(-2 - 0.12)
  assert math.log10(high) == pytest.approx(0.12)


@pytest.mark.parametrize('is_log', [True, False])
def test_one_value_or_none_has_a_range_too(is_log):
  low, high = ranges.limits([3.0, np.inf, np.nan], is_log=is_log)
  assert low < 3 < high
  assert ranges.limits([np.nan], is_log=is_log) is None
  low, high = ranges.limits([], [2.0], is_log=is_log)
  assert low < 2 < high
