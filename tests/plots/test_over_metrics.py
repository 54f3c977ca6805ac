"""Several metrics of a run as one curve."""

import numpy as np
import pytest

from gpt_jax.plots import figures, over_metrics, palette
from gpt_jax.sweeps import Figure
from tests.plots.test_series import results


@pytest.mark.slow
def test_a_row_is_a_curve_of_the_means_of_its_metrics(tmp_path):
  draw = over_metrics.of(
    {1: 'validation/loss', 8: lambda result: 2 * result.value('validation/loss')},
    x_label='length', y_label='nats', reference=('floor', (0.5, 0.25)),
  )  # fmt: skip
  found = results(tmp_path)
  axis = figures.draw(Figure('f', 'F', draw=draw), found).axes[0]
  base, ours, floor = axis.get_lines()
  assert [line.get_label() for line in (base, ours, floor)] == ['base', 'ours', 'floor']
  assert [base.get_color(), ours.get_color()] == list(palette.SERIES[:2])
  mean = found.where(row='ours').mean('validation/loss')
  np.testing.assert_allclose(ours.get_xydata(), [(1, mean), (8, 2 * mean)])
  np.testing.assert_array_equal(floor.get_ydata(), [0.5, 0.25])
  assert len(axis.collections) == 2  # the ranges over seeds
