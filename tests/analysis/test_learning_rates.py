"""Best rates, optima between them, and how much a model minds its rate."""

import math

import pytest

from gpt_jax.analysis import learning_rates
from gpt_jax.analysis.results import NotEnoughData, Results
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

RATES = [0.002 * 2**i for i in range(6)]
WIDTH = 'model.d_model'
OPTIMA = {
  ('base', 8): 0.02, ('base', 16): 0.0035, ('ours', 8): 0.01, ('ours', 16): 0.012,
}  # fmt: skip
CURVATURE = {'base': 0.5, 'ours': 0.1}


def loss(point):
  rate, width = point.axes[learning_rates.RATE], point.axes[WIDTH]
  return 2 + CURVATURE[point.row] * math.log(rate / OPTIMA[point.row, width]) ** 2


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  grid = algebra.product(
    algebra.vary(WIDTH, 8, 16), algebra.vary(learning_rates.RATE, *RATES)
  )
  folder = tmp_path_factory.mktemp('rates')
  return Results(fake_study.make(folder, loss, sweep=grid, seeds=(3,)))


def part(results, row, width):
  return results.where(row=row, model__d_model=width)


@pytest.mark.parametrize('row, width', OPTIMA)
def test_the_optimum_is_the_planted_vertex(results, row, width):
  found = learning_rates.optimum(part(results, row, width))
  assert found == pytest.approx(OPTIMA[row, width])


def test_the_best_rate_is_the_nearest_of_the_grid(results):
  assert learning_rates.best_on_grid(part(results, 'base', 8)) == RATES[3]
  assert learning_rates.best_on_grid(part(results, 'ours', 16)) == RATES[3]


def test_an_optimum_at_the_end_of_the_grid_stays_there(results):
  two = results.only(lambda point: point.axes[learning_rates.RATE] > 0.01)
  assert learning_rates.optimum(part(two, 'base', 16)) == RATES[3]


def test_optima_stay_or_move_by_a_factor(results):
  stay = learning_rates.optima_stay('ours', WIDTH, factor=2)(results)
  assert stay.holds
  assert stay.numbers['optima, largest over smallest'] == pytest.approx(1.2)
  # The best rates of the grid are a factor of two apart, which a rule may not allow.
  assert stay.numbers['best rates, largest over smallest'] == pytest.approx(2)
  assert not learning_rates.optima_stay('ours', WIDTH, factor=1.5)(results).holds


def test_optima_at_an_end_of_the_grid_are_not_known_to_stay(results):
  short = results.only(lambda point: point.axes[learning_rates.RATE] > 0.01)
  with pytest.raises(NotEnoughData, match='0.016, is an end of the grid'):
    learning_rates.optima_stay('ours', WIDTH, factor=2)(short)
  assert learning_rates.optima_move('base', WIDTH, factor=4)(results).holds
  assert not learning_rates.optima_move('ours', WIDTH, factor=4)(results).holds


def test_a_sharper_optimum_is_more_sensitive(results, monkeypatch):
  monkeypatch.setattr(learning_rates, 'loss_at_start', lambda results: 3.0)

  def sharp(results):
    return part(results, 'base', 8)

  def flat(results):
    return part(results, 'ours', 8)

  losses = [2 + 0.5 * math.log(rate / 0.02) ** 2 for rate in RATES]
  by_hand = sum(min(one, 3.0) for one in losses) / 6 - min(losses)
  found = learning_rates.sensitivity(sharp(results))
  assert found == pytest.approx(by_hand)
  outcome = learning_rates.less_sensitive(flat, sharp, at_most=0.6)(results)
  ratio = learning_rates.sensitivity(flat(results)) / found
  assert outcome.holds
  assert outcome.numbers['ratio'] == pytest.approx(ratio)
  assert not learning_rates.less_sensitive(sharp, flat, at_most=0.6)(results).holds


def test_models_that_learn_at_no_rate_have_no_ratio(results, monkeypatch):
  monkeypatch.setattr(learning_rates, 'loss_at_start', lambda results: 1.0)

  def none(results):
    return part(results, 'base', 8)

  outcome = learning_rates.less_sensitive(none, none, at_most=0.6)(results)
  assert math.isnan(outcome.numbers['ratio'])


def test_the_loss_at_the_start_is_the_first_recorded(results):
  own = part(results, 'base', 8)
  first = [one.curve('validation/loss')[1][0] for one in own]
  found = learning_rates.loss_at_start(own, 'validation/loss')
  assert found == pytest.approx(sum(first) / len(RATES))


def test_no_finished_run_is_not_enough_data(results):
  with pytest.raises(NotEnoughData, match='every run has diverged'):
    learning_rates.loss_at_start(results.only(lambda point: False))
