"""Fits recover planted constants and give the published compute-optimal sizes."""

import math

import numpy as np
import pytest

from gpt_jax.analysis import fits
from gpt_jax.core.errors import UserError

PLANTED = fits.ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
N = np.repeat(np.logspace(7.5, 10, 8), 8)  # as the paper's runs: 30M to 10B ...
D = np.tile(np.logspace(9, 11.5, 8), 8)  # ... on 1B to 300B tokens


def test_chinchilla_fit_recovers_planted_constants():
  found = fits.fit_chinchilla(N, D, PLANTED.loss(N, D), num_starts=4)
  for name, value in vars(PLANTED).items():
    assert getattr(found, name) == pytest.approx(value, rel=1e-3), name


@pytest.mark.parametrize('seed', range(3))
def test_one_percent_of_noise_moves_exponents_by_little(seed):
  noise = 0.01 * np.random.default_rng(seed).normal(size=len(N))
  found = fits.fit_chinchilla(N, D, PLANTED.loss(N, D) * np.exp(noise), num_starts=4)
  assert found.alpha == pytest.approx(PLANTED.alpha, abs=0.03)
  assert found.beta == pytest.approx(PLANTED.beta, abs=0.03)


def test_one_outlier_moves_the_fit_by_little():
  loss = PLANTED.loss(N, D)
  loss[10] *= 2  # Huber: an outlier pulls by its sign, not by its size
  found = fits.fit_chinchilla(N, D, loss, num_starts=4)
  assert found.alpha == pytest.approx(PLANTED.alpha, abs=0.005)


@pytest.mark.slow
def test_the_lowest_starts_find_what_hundreds_find():
  noise = 0.01 * np.random.default_rng(5).normal(size=len(N))
  loss = PLANTED.loss(N, D) * np.exp(noise)
  few = fits.fit_chinchilla(N, D, loss, num_starts=4)
  many = fits.fit_chinchilla(N, D, loss, num_starts=400)
  assert few.alpha == pytest.approx(many.alpha, rel=1e-6)


PUBLISHED = {
  # E, A, B, alpha, beta, and N_opt and D / N at 5.76e23 FLOPs.
  'Hoffmann et al. 2022, rounded': ((1.69, 406.4, 410.7, 0.34, 0.28), 3.219e10, 92.6),
  'their source, logarithms': (
    (*map(math.exp, (0.52672, 6.00734, 6.01792)), 0.33917, 0.28491), 4.036e10, 58.9,
  ),
  'Besiroglu et al. 2024': (
    (1.8172, 482.01, 2085.43, 0.3478, 0.3658), 7.225e10, 18.4,
  ),
}  # fmt: skip


@pytest.mark.parametrize('constants, n_opt, ratio', PUBLISHED.values(), ids=PUBLISHED)
def test_compute_optimal_size_of_published_constants(constants, n_opt, ratio):
  n, d = fits.ChinchillaLaw(*constants).optimal(5.76e23)
  assert n == pytest.approx(n_opt, rel=1e-3)
  assert d / n == pytest.approx(ratio, rel=1e-3)


def test_no_other_split_of_the_compute_has_a_lower_loss():
  n, d = PLANTED.optimal(1e21)
  assert 6 * n * d == pytest.approx(1e21)
  for factor in (0.9, 1.1):
    assert PLANTED.loss(n * factor, d / factor) > PLANTED.loss(n, d)


def test_power_law_fit_recovers_planted_constants():
  planted = fits.PowerLaw(E=1.5, A=300.0, alpha=0.3)
  n = np.logspace(4, 8, 12)
  found = fits.fit_power_law(n, planted.loss(n))
  for name, value in vars(planted).items():
    assert getattr(found, name) == pytest.approx(value, rel=1e-3), name


def test_isoflop_minimum_is_that_of_the_planted_parabola():
  n = np.array([1e5, 2e5, 4e5, 8e5])
  found = fits.fit_isoflop(n, 2 + 0.1 * np.log(n / 3e5) ** 2)
  assert found.minimum == pytest.approx(3e5, rel=1e-6)
  assert found.is_convex and found.has_interior_minimum
  assert found.loss(3e5) == pytest.approx(2.0)


def test_isoflop_curve_that_only_falls_has_no_interior_minimum():
  n = np.array([1e5, 2e5, 4e5])
  assert not fits.fit_isoflop(n, 2 + 0.1 * np.log(n / 1e7) ** 2).has_interior_minimum
  bent = fits.fit_isoflop(n, 2 - 0.1 * np.log(n / 2e5) ** 2)
  assert not bent.is_convex and math.isnan(bent.minimum)


def test_log_log_slope_is_the_exponent():
  c = np.array([1e11, 1e12, 1e13])
  assert fits.log_log_slope(c, 5 * c**0.49) == pytest.approx(0.49)


def test_learning_rate_sensitivity_bounds_losses_by_the_first():
  # min(loss, 4): 3, 2, 4, 4; mean 3.25, lowest 2.
  found = fits.learning_rate_sensitivity([3.0, 2.0, 90.0, math.nan], 4.0)
  assert found == pytest.approx(1.25)
  assert fits.learning_rate_sensitivity([9.0, math.inf], 4.0) == 0


def test_bootstrap_interval_holds_the_planted_exponent():
  noise = 0.01 * np.random.default_rng(1).normal(size=len(N))
  loss = PLANTED.loss(N, D) * np.exp(noise)
  intervals = fits.bootstrap(
    lambda n, d, loss: fits.fit_chinchilla(n, d, loss, near=PLANTED),
    (N, D, loss),
    {'a': lambda law: law.parameter_exponent},
    num_resamples=20,
  )
  low, high = intervals['a']
  assert low < PLANTED.parameter_exponent < high < low + 0.2


def test_too_few_runs_or_a_diverged_one_are_refused():
  with pytest.raises(UserError, match='4 different runs; a fit needs at least 5'):
    fits.fit_chinchilla(N[:4], D[:4], PLANTED.loss(N[:4], D[:4]))
  with pytest.raises(UserError, match='expected positive numbers to fit, found nan'):
    fits.fit_power_law(N[::8], [*PLANTED.loss(N[8::8], 1e9), math.nan])
  with pytest.raises(UserError, match='resamples could be fitted; add runs'):
    fits.bootstrap(fits.fit_isoflop, ([1, 2, 3], [3, 2, 3]), {'n': lambda p: p.minimum})
