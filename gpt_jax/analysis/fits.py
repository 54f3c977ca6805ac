"""Scaling laws fitted to results: power laws, Chinchilla's, isoFLOP parabolas.

Losses are in nats, models in parameters (N), data in tokens (D), compute in FLOPs (C).
"""

import dataclasses
import itertools
import math

import numpy as np
from scipy import optimize

from gpt_jax.core.errors import UserError

HUBER_DELTA = 1e-3  # of log losses; Hoffmann et al. 2022, section 3.3
NUM_STARTS = 16  # lowest of the grid, from which the minimum is sought


@dataclasses.dataclass(frozen=True)
class PowerLaw:
  """`L = E + A / N^alpha`."""

  E: float
  A: float
  alpha: float

  def loss(self, n):
    """Returns the loss that the law gives a model of `n` parameters."""
    return self.E + self.A * np.asarray(n, float) ** -self.alpha


@dataclasses.dataclass(frozen=True)
class ChinchillaLaw:
  """`L = E + A / N^alpha + B / D^beta`; Hoffmann et al. 2022, equation 10."""

  E: float
  A: float
  B: float
  alpha: float
  beta: float

  def loss(self, n, d):
    """Returns the loss of a model of `n` parameters after `d` tokens."""
    n, d = np.asarray(n, float), np.asarray(d, float)
    return self.E + self.A * n**-self.alpha + self.B * d**-self.beta

  @property
  def parameter_exponent(self):
    """The a of `N_opt ~ C^a`."""
    return self.beta / (self.alpha + self.beta)

  def optimal(self, flops, flops_per_parameter_token=6.0):
    """Returns (N, D) of the lowest loss for `flops` = 6 N D; their equation 4."""
    product = flops / flops_per_parameter_token
    ratio = self.alpha * self.A / (self.beta * self.B)
    n = ratio ** (1 / (self.alpha + self.beta)) * product**self.parameter_exponent
    return n, product / n


@dataclasses.dataclass(frozen=True)
class Parabola:
  """`L = c0 + c1 x + c2 x^2` with `x = ln N`, for models of one compute budget."""

  c0: float
  c1: float
  c2: float
  smallest: float  # N of the smallest and ...
  largest: float  # ... of the largest model in it

  def loss(self, n):
    """Returns the loss that the parabola gives a model of `n` parameters."""
    x = np.log(np.asarray(n, float))
    return self.c0 + self.c1 * x + self.c2 * x**2

  @property
  def is_convex(self):
    return self.c2 > 0

  @property
  def minimum(self):
    """N of the lowest loss; of a parabola that is not convex, nan."""
    if not self.is_convex:
      return math.nan
    # exp overflows for a parabola that is nearly a line.
    return float(np.exp(np.clip(-self.c1 / (2 * self.c2), -700, 700)))

  @property
  def has_interior_minimum(self):
    return self.is_convex and self.smallest < self.minimum < self.largest


def fit_power_law(n, loss):
  """Returns the PowerLaw through losses of models of `n` parameters."""
  (n,), loss = _checked([n], loss, at_least=3)
  grid = itertools.product(
    np.arange(0, 26, 5), np.arange(-1, 1.1, 0.5), np.arange(0, 2.1, 0.25)
  )
  a, e, alpha = _fit_log_sum([np.log(n)], np.log(loss), grid)
  return PowerLaw(math.exp(e), math.exp(a), alpha)


def fit_chinchilla(n, d, loss, num_starts=NUM_STARTS, near=None):
  """Returns the ChinchillaLaw of runs of `n` parameters on `d` tokens: approach 3.

  The sum of Huber losses of log L is minimised by BFGS from the paper's grid of
  4,500 starts, of which only the `num_starts` lowest are followed (None: all).
  `near`: a ChinchillaLaw to start from instead, for resamples of what it fits.
  """
  (n, d), loss = _checked([n, d], loss, at_least=5)
  coefficients, exponents = np.arange(0, 26, 5), np.arange(0, 2.1, 0.5)
  grid = itertools.product(
    coefficients, coefficients, np.arange(-1, 1.1, 0.5), exponents, exponents
  )
  if near is not None:
    grid = [(*np.log([near.A, near.B, near.E]), near.alpha, near.beta)]
  logs = [np.log(n), np.log(d)]
  a, b, e, alpha, beta = _fit_log_sum(logs, np.log(loss), grid, num_starts)
  return ChinchillaLaw(math.exp(e), math.exp(a), math.exp(b), alpha, beta)


def fit_isoflop(n, loss):
  """Returns the Parabola through losses of models of `n` parameters at one budget."""
  (n,), loss = _checked([n], loss, at_least=3)
  c2, c1, c0 = np.polyfit(np.log(n), loss, 2)
  return Parabola(float(c0), float(c1), float(c2), float(n.min()), float(n.max()))


def log_log_slope(x, y):
  """Returns the exponent of `y ~ x^slope`, by least squares in logarithms."""
  return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def learning_rate_sensitivity(losses, loss_at_start):
  """Returns the mean loss above the lowest over a grid of learning rates, in nats.

  Wortsman et al. 2023, section 2.2: losses above `loss_at_start`, and those of diverged
  runs (nan), count as that. A model that learns at no rate gets 0, the best there is,
  so show the losses as well.
  """
  losses = np.asarray(losses, float)
  bounded = np.fmin(np.where(np.isnan(losses), np.inf, losses), loss_at_start)
  return float(np.mean(bounded) - np.min(bounded))


def bootstrap(fit, columns, numbers, num_resamples=200, level=0.95, seed=0):
  """Returns `{name: (low, high)}`, percentile intervals over resampled runs.

  `columns`: the arguments of `fit`, one value a run. `numbers`: `{name: function of
  what fit returns}`. Resamples that cannot be fitted are left out; UserError when
  that is most of them.
  """
  rng = np.random.default_rng(seed)
  columns = [np.asarray(column, float) for column in columns]
  found = {name: [] for name in numbers}
  for _ in range(num_resamples):
    chosen = rng.integers(0, len(columns[0]), len(columns[0]))
    try:
      fitted = fit(*(column[chosen] for column in columns))
    except UserError:
      continue
    for name, number in numbers.items():
      found[name].append(number(fitted))
  tails = 100 * (1 - level) / 2
  for name, values in found.items():
    if sum(np.isfinite(values)) < num_resamples / 2:
      raise UserError(
        f'bootstrap of {name}: only {sum(np.isfinite(values))} of {num_resamples}'
        ' resamples could be fitted; add runs.'
      )
  return {
    name: tuple(float(q) for q in np.nanpercentile(values, [tails, 100 - tails]))
    for name, values in found.items()
  }


def _checked(inputs, loss, at_least):
  """Returns them as float arrays; UserError names what cannot be fitted."""
  inputs = [np.asarray(values, float) for values in inputs]
  loss = np.asarray(loss, float)
  if any(values.shape != loss.shape for values in inputs):
    raise UserError(f'{[len(v) for v in inputs]} inputs for {len(loss)} losses.')
  distinct = np.unique(np.stack(inputs), axis=1).shape[1]
  if distinct < at_least:
    raise UserError(f'{distinct} different runs; a fit needs at least {at_least}.')
  for values in (*inputs, loss):
    is_good = np.isfinite(values) & (values > 0)
    if not is_good.all():
      raise UserError(f'expected positive numbers to fit, found {values[~is_good][0]}.')
  return inputs, loss


def _fit_log_sum(logs, log_loss, grid, num_starts=NUM_STARTS):
  """Returns the best parameters of `log L = LSE(a - alpha ln N, ..., e)`.

  `logs`: logarithms of K inputs. Parameters: K coefficients, e, K exponents.
  """
  logs_KP = np.stack(logs)

  def objective(parameters):
    residuals_P, jacobian_PX = _residuals(parameters, logs_KP, log_loss)
    slopes_P = np.clip(residuals_P / HUBER_DELTA, -1, 1) / HUBER_DELTA
    # Not `@`: for arrays of this size the threads of BLAS cost ten times the product.
    return _huber(residuals_P), (slopes_P[:, None] * jacobian_PX).sum(0)

  starts_SX = np.array(list(grid))
  if num_starts is not None:
    at_starts = _huber(_log_sums(starts_SX.T[..., None], logs_KP)[0] - log_loss)
    starts_SX = starts_SX[np.argsort(at_starts)[:num_starts]]
  # BFGS: with five parameters there is nothing to limit the memory of, and the threads
  # of scipy's L-BFGS-B make it a hundred times as slow.
  found = [
    optimize.minimize(
      objective, start, jac=True, method='BFGS', options=dict(gtol=1e-6)
    )
    for start in starts_SX
  ]
  best = min((one for one in found if np.isfinite(one.fun)), key=lambda one: one.fun)
  return [float(value) for value in best.x]


def _huber(residuals):
  """Returns the sum over runs of Huber losses, in units of delta squared."""
  # The sum, and in these units: the solver's tolerances are absolute, and a mean of
  # squares of 1e-3 would be below them at the start (Besiroglu et al. 2024).
  size = np.abs(residuals / HUBER_DELTA)
  return np.where(size < 1, size**2 / 2, size - 0.5).sum(-1)


def _log_sums(parameters, logs_KP):
  """Returns predicted log losses and the K + 1 terms of their sums."""
  num = len(logs_KP)
  terms = [
    c - p * x
    for c, p, x in zip(parameters, parameters[num + 1 :], logs_KP, strict=False)
  ]
  terms.append(parameters[num] + 0 * terms[0])
  return np.logaddexp.reduce(terms, axis=0), terms


def _residuals(parameters, logs_KP, log_loss):
  """Returns predicted minus given log losses [P], and their Jacobian [P, X]."""
  log_sums_P, terms = _log_sums(parameters, logs_KP)
  shares = np.exp(np.stack(terms) - log_sums_P)
  jacobian_XP = [*shares, *(-shares[:-1] * logs_KP)]
  return log_sums_P - log_loss, np.stack(jacobian_XP, axis=1)
