"""Means over an axis, and how fast a metric grows along it."""

import math

import pytest

from gpt_jax.analysis import axis_values
from gpt_jax.analysis.results import Results
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

WIDTH, LOSS = 'model.d_model', 'validation/loss'
WIDTHS = algebra.vary(WIDTH, 32, 8, 16)
POWERS = {'base': 0.5, 'ours': 0.05}


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  def loss(point):
    return (2 + point.axes['seed']) * point.axes[WIDTH] ** POWERS[point.row]

  folder = tmp_path_factory.mktemp('axis')
  return Results(fake_study.make(folder, loss, sweep=WIDTHS, seeds=(3, 4)))


def test_means_are_over_seeds_in_rising_order(results):
  found = axis_values.means(results.where(row='base'), WIDTH)
  assert list(found) == [8, 16, 32]
  assert found[16] == pytest.approx(5.5 * 4)
  assert list(axis_values.means(results.where(model__d_model=8), 'row')) == [
    'base',
    'ours',
  ]


def test_the_exponent_is_that_of_the_planted_power(results):
  for row, power in POWERS.items():
    found = axis_values.exponent(results.where(row=row), WIDTH)
    assert found == pytest.approx(power)


def test_a_metric_that_grows_does_not_keep_its_size(results):
  grows = axis_values.keeps_its_size('base', WIDTH, LOSS)(results)
  stays = axis_values.keeps_its_size('ours', WIDTH, LOSS, beside=('base',))(results)
  assert (grows.holds, stays.holds) == (False, True)
  assert stays.numbers['exponent, base'] == pytest.approx(0.5)


def test_one_row_is_smaller_at_each_value_or_not(results):
  def ours(results):
    return results.where(row='ours')

  def base(results):
    return results.where(row='base')

  def sinking(result):
    return 20.0 if result.point.row == 'ours' else result.value(LOSS)

  rule = axis_values.smaller_at_each(ours, base, WIDTH, LOSS)
  assert rule(results).holds
  assert not axis_values.smaller_at_each(base, ours, WIDTH, LOSS)(results).holds
  # 5.5 times the root of the width: above 20 from 16 on.
  assert not axis_values.smaller_at_each(ours, base, WIDTH, sinking)(results).holds
  late = axis_values.smaller_at_each(ours, base, WIDTH, sinking, from_value=16)
  assert late(results).holds
  assert list(late(results).numbers) == ['16', '32']


def test_what_has_diverged_is_larger_than_any_number(tmp_path):
  def ours(results):
    return results.where(row='ours')

  def base(results):
    return results.where(row='base')

  def lost(result):
    return math.nan if result.point.row == 'base' else 1.0

  study = fake_study.make(tmp_path, lambda point: 1.0, sweep=WIDTHS, seeds=(3,))
  rule = axis_values.smaller_at_each(ours, base, WIDTH, lost)
  assert not rule(Results(study)).holds  # nan, of runs that have not diverged
  for point in study.points:
    if point.row == 'base':
      fake_study.diverge(point)
  assert rule(Results(study)).holds
  assert not axis_values.smaller_at_each(base, ours, WIDTH, lost)(Results(study)).holds


def test_a_row_is_taken_at_either_end_of_an_axis(results):
  least = axis_values.at_smallest('ours', WIDTH)(results)
  most = axis_values.at_largest('base', WIDTH)(results)
  assert least.describe() == f'ours, {WIDTH}=8'
  assert most.describe() == f'base, {WIDTH}=32'
