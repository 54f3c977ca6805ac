"""What a grid of learning rates says: the best one, and how much the choice matters.

`results` has one row and setting, apart from rates and seeds. Rules take as `which` the
name of a row, or a function from Results to Results.
"""

import math

import numpy as np

from gpt_jax.analysis import axis_values, fits, parts
from gpt_jax.analysis.results import NotEnoughData, best_of
from gpt_jax.analysis.rules import Rule
from gpt_jax.sweeps.experiment import Outcome

RATE = 'optimizer.learning_rate'
ROUNDING = 1e-6  # of a grid of powers of two


def best_on_grid(results, metric=None):
  """Returns the rate of the grid with the lowest mean loss; diverged runs are worst."""
  return best_of(axis_values.means(results, RATE, metric))


def optimum(results, metric=None):
  """Returns the rate of the lowest loss, between those of the grid where it is.

  That is the vertex of the parabola in the logarithm of the rate through the best rate
  and its neighbours. At an end of the grid, or beside a run that has diverged, there is
  no such parabola: the best rate itself.
  """
  losses = axis_values.means(results, RATE, metric)
  rates, best = list(losses), list(losses).index(best_of(losses))
  around = rates[max(best - 1, 0) : best + 2]
  if len(around) < 3 or not all(math.isfinite(losses[rate]) for rate in around):
    return rates[best]
  # Centred: the coefficients of the plain logarithm lose digits.
  x = np.log(around) - np.log(rates[best])
  c2, c1, _ = np.polyfit(x, [losses[rate] for rate in around], 2)
  return rates[best] * math.exp(-c1 / (2 * c2)) if c2 > 0 else rates[best]


def optima_stay(which, across, *, factor):
  """Returns the Rule that the optimal rate moves by at most `factor` across an axis.

  The best rates of the grid have to as well, and be none of its ends.
  """
  words = f'optima, and best rates of the grid, at most a factor of {factor:g} apart'
  return _optima('optima_stay', which, across, factor, words)


def optima_move(which, across, *, factor):
  """Returns the Rule that the optimal rate moves by at least `factor` across an axis.

  The best rates of the grid have to as well.
  """
  words = f'optima, and best rates of the grid, at least a factor of {factor:g} apart'
  return _optima('optima_move', which, across, factor, words)


def loss_at_start(results, metric='train/loss'):
  """Returns the loss at initialization: that of the first record, the mean over runs.

  NotEnoughData where all runs have diverged.
  """
  first = [one.curve(metric)[1][0] for one in results if not one.diverged]
  if not first:
    raise NotEnoughData(f'{results.describe()}: every run has diverged.')
  return float(np.mean(first))


def sensitivity(results, metric=None):
  """Returns the mean loss above the lowest over the grid, in nats.

  Wortsman et al. 2023, section 2.2: no loss counts as more than that at initialization.
  """
  losses = axis_values.means(results, RATE, metric)
  return fits.learning_rate_sensitivity(list(losses.values()), loss_at_start(results))


def less_sensitive(which, than, *, at_most):
  """Returns the Rule that one sensitivity is at most `at_most` times another."""

  def check(results):
    both = [parts.of(results, part) for part in (which, than)]
    one, other = (sensitivity(part) for part in both)
    numbers = {f'sensitivity, {both[0].describe()}': one}
    ratio = one / other if other else math.nan  # 0: it learns at no rate
    numbers |= {f'sensitivity, {both[1].describe()}': other, 'ratio': ratio}
    return Outcome(one <= at_most * other, numbers)

  words = f'sensitivity over the grid of rates, at most {at_most:g} times the other'
  given = dict(which=which, than=than, at_most=at_most)
  return Rule('less_sensitive', given, words, check)


def _require_inside(part, across, best):
  """Raises NotEnoughData where a best rate is an end: how far it moved is not known."""
  for value, rate in zip(part.axis(across), best, strict=True):
    rates = part.where(**{across: value}).axis(RATE)
    if rate in (min(rates), max(rates)):
      raise NotEnoughData(
        f'at {across}={value} the best rate, {rate:g}, is an end of the grid; widen it.'
      )


def _optima(name, which, across, factor, words):
  def check(results):
    part = parts.of(results, which)
    found, numbers = {'optima': [], 'best rates': []}, {}
    for value in part.axis(across):
      own = part.where(**{across: value})
      found['optima'].append(optimum(own))
      found['best rates'].append(best_on_grid(own))
      numbers[f'optimum at {value}'] = found['optima'][-1]
    apart = {one: max(rates) / min(rates) for one, rates in found.items()}
    numbers |= {f'{one}, largest over smallest': x for one, x in apart.items()}
    if name == 'optima_stay':
      holds = max(apart.values()) <= factor * (1 + ROUNDING)
      if holds:
        _require_inside(part, across, found['best rates'])
    else:
      holds = min(apart.values()) >= factor * (1 - ROUNDING)
    return Outcome(holds, numbers)

  return Rule(name, dict(which=which, across=across, factor=factor), words, check)
