"""Where a curve first comes to a level."""

import math

import numpy as np
import pytest

from gpt_jax.analysis import crossings


@pytest.mark.parametrize('level', [5.0, 4.2, 3.0, 1.5])
def test_a_level_is_found_on_the_line_between_two_points(level):
  x, values = [0.0, 10.0, 30.0, 50.0], [5.0, 4.0, 2.0, 1.0]
  expected = np.interp(-level, np.negative(values), x)  # of a falling curve
  assert crossings.first_at_most(x, values, level) == pytest.approx(expected)


def test_the_first_crossing_counts_and_none_is_infinity():
  x, values = [1, 2, 3, 4], [4.0, 2.0, 6.0, 1.0]
  assert crossings.first_at_most(x, values, 3.0) == 1.5
  assert crossings.first_at_most(x, values, 9.0) == 1.0
  assert crossings.first_at_most(x, values, 0.5) == math.inf
  assert crossings.first_at_most(x, [math.nan, 2.0, 1.0, 0.0], 1.0) == 3.0
