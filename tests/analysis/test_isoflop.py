"""IsoFLOP rules find the minima, the exponent and the law that were planted."""

import math

import pytest

from gpt_jax.analysis import isoflop
from gpt_jax.analysis.fits import ChinchillaLaw
from gpt_jax.analysis.results import NotEnoughData, Results
from gpt_jax.config import files, load
from gpt_jax.model import flops
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

LAW = ChinchillaLaw(E=0.9, A=20.0, B=60.0, alpha=0.5, beta=0.5)
BUDGETS = (3e11, 1e12, 3e12)


class Run:
  """A result with planted numbers, in place of a finished one."""

  def __init__(self, point, numbers):
    self.point = point
    self.value = numbers.__getitem__


def results(folder, law=LAW, fold=1.0):
  """Returns Results of four sizes at three budgets, with losses of the law."""
  study = fake_study.make(
    folder,
    # Points of equal configs would be one point.
    rows={f'{budget:.0e}': {'optimizer.eps': 1 / budget} for budget in BUDGETS},
    sweep=algebra.vary('model.num_layers', 1, 2, 3, 4),
    seeds=(3,),
  )
  found = {}
  for point in study.points:
    budget = float(point.row)
    n = law.optimal(budget)[0] * 2 ** (point.axes['model.num_layers'] - 2.5)
    d = budget / 6 / n
    loss = float(law.loss(n, d)) ** fold
    numbers = {'parameters': n, 'tokens': d, 'validation/loss': loss}
    found[point.name] = Run(point, numbers)
  return Results(study, found)


def test_planted_minima_and_their_exponent_are_found(tmp_path):
  found = results(tmp_path)
  outcome = isoflop.have_minima()(found)
  assert outcome.holds
  for budget, value in zip(BUDGETS, outcome.numbers.values(), strict=True):
    assert value == pytest.approx(LAW.optimal(budget)[0], rel=0.02)
  slope = isoflop.exponent_between(0.3, 0.7)(found)
  assert slope.holds
  assert slope.numbers['a of N_opt ~ C^a'] == pytest.approx(0.5, abs=0.01)
  assert not isoflop.exponent_between(0.6, 0.7)(found).holds


def test_parabolas_that_bend_down_have_no_minimum(tmp_path):
  found = results(tmp_path, fold=-1.0)
  assert not isoflop.have_minima()(found).holds
  outcome = isoflop.exponent_between(0.3, 0.7)(found)
  assert not outcome.holds
  assert math.isnan(outcome.numbers['a of N_opt ~ C^a'])


@pytest.mark.slow
def test_the_law_of_smaller_budgets_meets_the_largest(tmp_path):
  outcome = isoflop.largest_is_predicted(within=0.03)(results(tmp_path))
  assert outcome.holds
  assert outcome.numbers['predicted'] == pytest.approx(outcome.numbers['lowest loss'])
  assert outcome.numbers['a'] == pytest.approx(0.5, abs=0.01)


def test_a_missing_run_is_not_enough_data(tmp_path):
  found = results(tmp_path)
  del found.found[found.points[0].name]
  for rule in (isoflop.have_minima(), isoflop.largest_is_predicted(within=0.03)):
    with pytest.raises(NotEnoughData, match='1 points are missing'):
      rule(found)
  assert len(isoflop.runs(found)[3e11][0]) == 3


def test_the_steps_of_a_budget_cost_the_budget():
  steps = isoflop.steps(1e12, 2, 64, 257, 64, 16)
  overrides = {
    'model.num_layers': 2, 'model.d_model': 64, 'model.bias': False,
    'model.position': 'rope', 'model.vocab_size': 257, 'data.seq_len': 64,
  }  # fmt: skip
  config = load.resolve(files.load_file('base'), overrides)
  cost = flops.palm_flops_per_token(config.model, 64)
  assert steps * 16 * 64 * cost == pytest.approx(1e12, rel=0.01)
