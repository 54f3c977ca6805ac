"""Curves and final values are means over seeds, and over nothing else."""

import math

import numpy as np
import pytest

from gpt_jax.analysis.results import Results
from gpt_jax.core.errors import ConfigError
from gpt_jax.plots import series
from gpt_jax.sweeps import Figure
from gpt_jax.sweeps.algebra import chain, product, rows, vary
from tests.sweeps import fake_study

RATES = vary('optimizer.learning_rate', 0.1, 0.01)


def loss(point):
  rate = point.axes.get('optimizer.learning_rate', 1.0)
  return 1.0 + point.config.seed + 10 * (point.row == 'ours') + rate


def results(folder, value=loss, **fields):
  return Results(fake_study.make(folder, value, **fields))


def test_a_curve_is_the_mean_and_range_over_seeds(tmp_path):
  found = results(tmp_path)
  (panel,) = series.collect(Figure('f', 'F'), found).values()
  base, ours = panel
  assert [base.label, ours.label] == ['base', 'ours']
  own = [r.curve('validation/loss')[1] for r in found.where(row='base')]
  np.testing.assert_array_equal(base.values_SP, own)
  np.testing.assert_allclose(base.mean, np.mean(own, axis=0))
  np.testing.assert_array_equal(base.low, np.min(own, axis=0))
  np.testing.assert_array_equal(base.high, np.max(own, axis=0))
  assert base.x == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


@pytest.mark.parametrize('x, last', [('tokens', 768.0), ('seconds', 60.0)])
def test_a_curve_lies_over_tokens_or_seconds_of_work(tmp_path, x, last):
  (panel,) = series.collect(Figure('f', 'F', x=x), results(tmp_path)).values()
  assert panel[0].x[-1] == pytest.approx(last)


def test_settings_of_another_axis_are_not_averaged(tmp_path):
  found = results(tmp_path, sweep=RATES)
  (panel,) = series.collect(Figure('f', 'F'), found).values()
  assert [one.label for one in panel] == [
    'base, learning rate 0.1',
    'base, learning rate 0.01',
    'ours, learning rate 0.1',
    'ours, learning rate 0.01',
  ]
  assert panel[1].mean[-1] == pytest.approx(2.01)  # seeds 0, 1, 2


def test_final_values_stand_over_a_field_in_order(tmp_path):
  found = results(tmp_path, sweep=RATES)
  figure = Figure('f', 'F', x='optimizer.learning_rate')
  (panel,) = series.collect(figure, found).values()
  assert panel[0].x == (0.01, 0.1)
  np.testing.assert_allclose(panel[1].mean, [12.01, 12.1])


def test_panels_and_curves_by_a_field_are_named(tmp_path):
  found = results(tmp_path, sweep=RATES)
  figure = Figure('f', 'F', by='optimizer.learning_rate', panels='row')
  panels = series.collect(figure, found)
  assert list(panels) == ['base', 'ours']
  assert [o.label for o in panels['ours']] == [
    'learning rate 0.01',
    'learning rate 0.1',
  ]


def test_a_figure_may_select_a_part(tmp_path):
  found = results(tmp_path, sweep=RATES)
  figure = Figure('f', 'F', select=lambda r: r.best_over('optimizer.learning_rate'))
  (panel,) = series.collect(figure, found).values()
  assert [one.label for one in panel] == ['base', 'ours']
  np.testing.assert_allclose([one.mean[-1] for one in panel], [2.01, 12.01])
  waiting = results(tmp_path / 'part', lambda p: None, sweep=RATES)
  assert series.collect(figure, waiting) == {}


def test_an_axis_of_one_row_is_not_written_at_the_others(tmp_path):
  sweep = chain(
    product(rows('base'), vary('optimizer.learning_rate', 0.1, 0.2)),
    product(rows('ours'), vary('optimizer.b2', 0.9, 0.99)),
  )
  (panel,) = series.collect(Figure('f', 'F'), results(tmp_path, sweep=sweep)).values()
  assert [one.label for one in panel] == [
    'base, learning rate 0.1', 'base, learning rate 0.2',
    'ours, b2 0.9', 'ours, b2 0.99',
  ]  # fmt: skip


def test_seeds_that_are_missing_leave_the_others(tmp_path):
  found = results(tmp_path, lambda p: None if p.config.seed == 1 else loss(p))
  (panel,) = series.collect(Figure('f', 'F'), found).values()
  assert panel[0].num_seeds == 2
  assert series.collect(Figure('f', 'F'), results(tmp_path / 'new', None)) == {}


def test_a_metric_that_nobody_has_is_an_error(tmp_path):
  with pytest.raises(ConfigError, match="fake.py: figure 'f': .*validation/los"):
    series.collect(Figure('f', 'F', y='validation/los'), results(tmp_path))


@pytest.mark.parametrize(
  'value, text',
  [
    (0.00031, '0.00031'), (1.23456, '1.235'), (3, '3'), (12_345, '12.3k'),
    (True, 'True'), (2.5e9, '2.5B'), (1_000_000, '1M'), ('adamw', 'adamw'),
  ],
)  # fmt: skip
def test_values_are_short_in_labels(value, text):
  assert series.format_value(value) == text


def test_all_data_and_a_near_line_are_inside():
  low, high = series.axis_range([1.0, 2.0], [2.5])
  assert (low, high) == pytest.approx((1.0 - 0.09, 2.5 + 0.09))


def test_a_far_line_stays_outside_and_a_near_one_does_not():
  low, high = series.axis_range([2.13, 2.16], [1.2, 2.2])
  assert low > 1.2 and high > 2.2


@pytest.mark.parametrize('share, is_inside', [(0.26, True), (0.24, False)])
def test_the_data_keep_a_quarter_of_the_axis(share, is_inside):
  _, high = series.axis_range([0.0, share], [1.0])
  assert (high > 1.0) == is_inside


def test_a_logarithmic_range_is_one_of_ratios():
  low, high = series.axis_range([0.01, 1.0, 0.0, -3.0], is_log=True)
  assert math.log10(low) == pytest.approx(-2 - 0.12)
  assert math.log10(high) == pytest.approx(0.12)


@pytest.mark.parametrize('is_log', [True, False])
def test_one_value_or_none_has_a_range_too(is_log):
  low, high = series.axis_range([3.0, np.inf, np.nan], is_log=is_log)
  assert low < 3 < high
  assert series.axis_range([np.nan], is_log=is_log) is None
  low, high = series.axis_range([], [2.0], is_log=is_log)
  assert low < 2 < high
