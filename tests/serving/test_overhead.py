"""What HTTP costs is measured on the same texts, both ways."""

import numpy as np
import pytest

from gpt_jax.serving import overhead
from gpt_jax.serving.settings import Settings
from tests.serving import served


def test_ratios_are_those_of_each_round():
  found = overhead.Overhead(2, 8, engine=(1.0, 2.0), http=(1.1, 3.0))
  np.testing.assert_allclose(found.ratios, [1.1, 1.5])


@pytest.mark.slow
def test_both_sides_write_the_same_texts():
  found = overhead.measure(
    served.models(), Settings(), clients=2, new_tokens=4, rounds=2
  )
  assert len(found.engine) == len(found.http) == 2
  assert 0 < found.tokens <= 4 * 4 and min(*found.engine, *found.http) > 0
