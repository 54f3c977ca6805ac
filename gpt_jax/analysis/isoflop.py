"""IsoFLOP studies: models of several sizes at equal compute, each row a budget.

A row is named by its FLOPs, such as `3e+11`, and has points of several sizes N that
have read D tokens each (Hoffmann et al. 2022, arXiv:2203.15556, sections 3.2 and 3.3).
"""

import math

import numpy as np

from gpt_jax.analysis import fits
from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.analysis.rules import Rule
from gpt_jax.sweeps.experiment import Outcome


def steps(budget, layers, width, vocabulary, seq_len, batch_size):
  """Returns for how many steps a model may train for `budget` FLOPs, rounded.

  A token costs 6 N + 12 L d T (PaLM, arXiv:2204.02311, appendix B), with N all
  parameters of a tied decoder without biases and with an MLP of 4 d, norms aside.
  """
  parameters = 12 * layers * width**2 + vocabulary * width
  per_token = 6 * parameters + 12 * layers * width * seq_len
  return round(budget / (per_token * batch_size * seq_len))


def runs(results):
  """Returns `{FLOPs: (N, D, losses)}` of finished points, arrays by rising N.

  A budget that has none is left out. The loss is the experiment's metric.
  """
  metric, found = results.study.experiment.metric, {}
  for row in results.axis('row'):
    own = [
      (one.value('parameters'), one.value('tokens'), one.value(metric))
      for one in results.where(row=row)
    ]
    if own:
      found[float(row)] = np.array(sorted(own), float).T
  return found


def parabolas(results):
  """Returns `{FLOPs: fits.Parabola}`; NotEnoughData unless all points are there."""
  _require_all(results)
  return {
    budget: fits.fit_isoflop(n, loss) for budget, (n, _, loss) in runs(results).items()
  }


def have_minima():
  """Returns the Rule that each budget's parabola has its minimum between its sizes."""

  def check(results):
    found = parabolas(results)
    numbers = {f'N_opt at {budget:.0e}': one.minimum for budget, one in found.items()}
    return Outcome(all(one.has_interior_minimum for one in found.values()), numbers)

  words = 'parabola in ln N through the sizes of a budget: convex, interior minimum'
  return Rule('have_minima', {}, words, check)


def exponent_between(low, high):
  """Returns the Rule that a of N_opt ~ C^a, through the minima, is in [low, high]."""

  def check(results):
    found = parabolas(results)
    minima = [one.minimum for one in found.values()]
    slope = math.nan
    if np.isfinite(minima).all():
      slope = fits.log_log_slope(list(found), minima)
    return Outcome(low <= slope <= high, {'a of N_opt ~ C^a': slope})

  words = f'slope of ln N_opt over ln C through the minima, {low:g} to {high:g}'
  return Rule('exponent_between', dict(low=low, high=high), words, check)


def largest_is_predicted(*, within):
  """Returns the Rule that L(N, D) of the smaller budgets predicts the largest one.

  Approach 3 through all runs but those of the largest budget; judged by its lowest
  loss, which is to be met within a fraction.
  """

  def check(results):
    _require_all(results)
    *smaller, (_, (n, d, loss)) = sorted(runs(results).items())
    law = fits.fit_chinchilla(*np.concatenate([one for _, one in smaller], axis=1))
    best = int(np.argmin(loss))
    predicted = float(law.loss(n[best], d[best]))
    numbers = {'lowest loss': loss[best], 'predicted': predicted, 'E': law.E}
    numbers |= {'alpha': law.alpha, 'beta': law.beta, 'a': law.parameter_exponent}
    return Outcome(abs(predicted / loss[best] - 1) <= within, numbers)

  words = f'approach 3 through smaller budgets; lowest loss of the largest +-{within:g}'
  return Rule('largest_is_predicted', dict(within=within), words, check)


def _require_all(results):
  if results.missing:
    raise NotEnoughData(f'{len(results.missing)} points are missing.')
