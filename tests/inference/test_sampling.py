"""Tokens are drawn from exactly the set and the distribution that the settings say."""

import dataclasses

import jax
import numpy as np
import pytest

from gpt_jax.inference.sampling import (
  SamplingRows,
  Work,
  distribution,
  kept,
  real_logits,
  sample,
  scale,
)
from gpt_jax.inference.settings import Sampling


@jax.jit
def sample_rows(logits_BV, rng_B, rows):
  work = Work.of(rows, logits_BV.shape[1])
  return sample(logits_BV, rng_B, np.zeros(len(logits_BV), np.int32), rows, work)


def draw(logits_BV, rng_B, *cfgs):
  """Returns ids drawn by one Sampling for all rows, or by one for each."""
  cfgs = cfgs * len(logits_BV) if len(cfgs) == 1 else cfgs
  return np.asarray(sample_rows(logits_BV, rng_B, SamplingRows.of(cfgs)))


def random_logits(rows, vocab, seed=0):
  return np.random.default_rng(seed).normal(0, 2, (rows, vocab)).astype(np.float32)


def keys(rows, seed=0):
  return jax.random.split(jax.random.key(seed), rows)


def softmax(logits_V):
  shifted_V = np.exp(logits_V.astype(np.float64) - logits_V.max())
  return shifted_V / shifted_V.sum()


@jax.jit
def kept_rows(logits_BV, rows):
  return kept(scale(logits_BV, rows), rows, Work.of(rows, logits_BV.shape[1]))


def kept_ids(logits_BV, cfg):
  """Returns the set of ids that may be drawn, for each row."""
  kept_BV = np.asarray(kept_rows(logits_BV, SamplingRows.of([cfg] * len(logits_BV))))
  return [set(np.flatnonzero(np.isfinite(row))) for row in kept_BV]


def test_temperature_zero_takes_the_likeliest_token():
  logits_BV = random_logits(50, 11)
  ids_B = draw(logits_BV, keys(50), Sampling())
  np.testing.assert_array_equal(ids_B, logits_BV.argmax(-1))


def test_top_k_of_one_is_greedy_at_any_temperature():
  logits_BV = random_logits(50, 11)
  ids_B = draw(logits_BV, keys(50), Sampling(temperature=5.0, top_k=1))
  np.testing.assert_array_equal(ids_B, logits_BV.argmax(-1))


@pytest.mark.parametrize('top', [{}, dict(top_k=3), dict(top_p=0.9), dict(top_k=11)])
def test_ever_lower_temperatures_end_in_the_greedy_choice(top):
  # From where float32 is coarse to what it, and the device, takes for 0.
  for exponent in (-6, -30, -37, -38, -39, -40, -44, -45, -50, -308, -323):
    for size in (1e-3, 1.0, 1e4):
      logits_BV = random_logits(50, 11) * np.float32(size)
      cold = Sampling(temperature=float(f'1e{exponent}'), **top)
      ids_B = draw(logits_BV, keys(50), cold)
      np.testing.assert_array_equal(ids_B, logits_BV.argmax(-1), str(cold))


@pytest.mark.parametrize('k', [2, 5, 11, 40])
def test_top_k_keeps_the_k_likeliest(k):
  logits_BV = random_logits(20, 11)
  kept = kept_ids(logits_BV, Sampling(temperature=0.7, top_k=k))
  assert kept == [set(np.argsort(-logits_V)[:k]) for logits_V in logits_BV]


def test_top_k_keeps_the_lowest_ids_of_equal_logits():
  assert kept_ids(np.zeros((1, 6), np.float32), Sampling(temperature=1.0, top_k=2)) == [
    {0, 1}
  ]


@pytest.mark.parametrize('p', [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('temperature', [0.5, 1.5])
def test_top_p_keeps_the_smallest_set_with_that_mass(p, temperature):
  logits_BV = random_logits(50, 30)
  kept = kept_ids(logits_BV, Sampling(temperature=temperature, top_p=p))
  for logits_V, ids in zip(logits_BV, kept, strict=True):
    share_V = softmax(logits_V / temperature)
    order = np.argsort(-share_V)
    smallest = 1 + int(np.searchsorted(np.cumsum(share_V[order]), p))
    assert ids == set(order[:smallest])


def test_top_p_is_a_share_of_what_top_k_kept():
  logits_BV = np.log(np.array([[0.4, 0.2, 0.2, 0.1, 0.1]], np.float32))
  # Of the two left, the first holds 2/3: enough for 0.6 though it was 0.4 of all.
  cfg = Sampling(temperature=1.0, top_k=2, top_p=0.6)
  assert kept_ids(logits_BV, cfg) == [{0}]
  assert kept_ids(logits_BV, dataclasses.replace(cfg, top_k=0)) == [{0, 1}]


@pytest.mark.parametrize(
  'cfg',
  [
    Sampling(),
    Sampling(temperature=9.0),
    Sampling(temperature=1e300),
    Sampling(temperature=9.0, top_k=9),
    Sampling(temperature=9.0, top_p=0.99),
  ],
)
def test_padding_ids_are_never_drawn(cfg):
  logits_BV = random_logits(500, 10)
  logits_BV[:, 7:] += 20
  assert draw(real_logits(logits_BV, 7), keys(500), cfg).max() == 6


@pytest.mark.parametrize(
  'cfg',
  [
    Sampling(temperature=1.0),
    pytest.param(Sampling(temperature=2.0, top_k=4), marks=pytest.mark.slow),
    pytest.param(Sampling(temperature=0.8, top_p=0.9), marks=pytest.mark.slow),
    pytest.param(Sampling(temperature=1.5, min_p=0.2), marks=pytest.mark.slow),
    pytest.param(Sampling(temperature=1.5, typical_p=0.6), marks=pytest.mark.slow),
    Sampling(temperature=1.2, top_k=7, top_p=0.95, min_p=0.02, typical_p=0.9),
  ],
)
def test_frequencies_follow_the_softmax_of_the_kept_logits(cfg):
  rows, logits_V = 20_000, random_logits(1, 8)[0]
  ids_B = draw(np.tile(logits_V, (rows, 1)), keys(rows), cfg)
  (kept,) = kept_ids(logits_V[None], cfg)
  scaled_V = np.where(
    np.isin(np.arange(8), list(kept)), logits_V / cfg.temperature, -1e9
  )
  expected_V = rows * softmax(scaled_V)
  found_V = np.bincount(ids_B, minlength=8)
  assert set(np.flatnonzero(found_V)) == kept
  ids = list(kept)
  chi_square = ((found_V[ids] - expected_V[ids]) ** 2 / expected_V[ids]).sum()
  # Mean len - 1, deviation sqrt(2 (len - 1)): four deviations above.
  assert chi_square < (len(ids) - 1) + 4 * (2 * (len(ids) - 1)) ** 0.5


def test_a_draw_does_not_depend_on_other_rows():
  logits_BV, rng_B = random_logits(6, 20), keys(6)
  cfg = Sampling(temperature=1.0)
  together_B = draw(logits_BV, rng_B, cfg)
  alone_B = [
    int(draw(logits_BV[i : i + 1], rng_B[i : i + 1], cfg)[0]) for i in range(6)
  ]
  np.testing.assert_array_equal(together_B, alone_B)


MIXED = [
  Sampling(),
  Sampling(temperature=0.7),
  Sampling(temperature=1.3, top_k=12),
  Sampling(temperature=1.0, top_p=0.8),
  Sampling(temperature=2.0, top_k=40, top_p=0.9),
  Sampling(temperature=0.9, top_k=10_000),
  Sampling(temperature=1.1, min_p=0.1),
  Sampling(temperature=1.1, typical_p=0.5),
  Sampling(temperature=1.1, top_k=30, min_p=0.05, typical_p=0.8),
]


def test_a_row_gets_its_token_whatever_the_others_ask_for():
  V = 1100  # two blocks and a part
  for seed in range(4):
    logits_BV, rng_B = random_logits(len(MIXED), V, seed), keys(len(MIXED), seed)
    together_B = draw(logits_BV, rng_B, *MIXED)
    for i, cfg in enumerate(MIXED):
      (alone,) = draw(logits_BV[i : i + 1], rng_B[i : i + 1], cfg)
      assert together_B[i] == alone, cfg


def test_settings_are_data_and_compile_nothing():
  before = sample_rows._cache_size()
  for cfg in MIXED:
    draw(random_logits(3, 23), keys(3), cfg)
  assert sample_rows._cache_size() == before + 1


def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest():
  logits_BV = random_logits(50, 30)
  kept = kept_ids(logits_BV, Sampling(temperature=1.5, min_p=0.1))
  for logits_V, ids in zip(logits_BV, kept, strict=True):
    share_V = softmax(logits_V / 1.5)
    assert ids == set(np.flatnonzero(share_V >= 0.1 * share_V.max()))
  assert all(
    len(ids) == 1 for ids in kept_ids(logits_BV, Sampling(temperature=1, min_p=1))
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  'settings',
  [
    dict(top_k=5),
    dict(top_p=0.8),
    dict(min_p=0.05),
    dict(typical_p=0.3),
    dict(typical_p=0.95),
    dict(top_k=12, top_p=0.9, min_p=0.02, typical_p=0.7),
    dict(top_p=0.97, typical_p=0.5),
  ],
)
@pytest.mark.parametrize('temperature', [0.6, 1.0, 1.7])
def test_the_kept_tokens_are_those_of_transformers(settings, temperature):
  torch = pytest.importorskip('torch', reason='the oracle needs torch')
  transformers = pytest.importorskip('transformers', reason='it is the oracle')
  warpers = dict(
    top_k=transformers.TopKLogitsWarper,
    top_p=transformers.TopPLogitsWarper,
    min_p=transformers.MinPLogitsWarper,
    typical_p=transformers.TypicalLogitsWarper,
  )
  logits_BV = random_logits(100, 40)
  scores_BV = transformers.TemperatureLogitsWarper(temperature)(
    None, torch.from_numpy(logits_BV)
  )
  for name, warper in warpers.items():
    if name in settings:
      scores_BV = warper(settings[name])(None, scores_BV)
  expected = [set(np.flatnonzero(np.isfinite(row))) for row in scores_BV.numpy()]
  assert kept_ids(logits_BV, Sampling(temperature=temperature, **settings)) == expected


def test_of_equal_logits_the_lowest_ids_are_kept():
  logits_BV = np.array([[0, 1, 1, 1, 1, 0]], np.float32)
  for settings, expected in (
    (dict(top_k=2), {1, 2}),
    (dict(top_k=5), {0, 1, 2, 3, 4}),
    (dict(top_p=0.4), {1, 2}),
    (dict(top_p=0), {1}),
    (dict(min_p=1), {1, 2, 3, 4}),
  ):
    assert kept_ids(logits_BV, Sampling(temperature=1.0, **settings)) == [expected]


def test_draws_reach_all_of_a_large_vocabulary():
  # Ids of weight lie far apart; blocks without any are between them.
  logits_V = np.full(5000, -np.inf, np.float32)
  ids, share = (
    np.array([0, 511, 512, 2600, 4999]),
    np.array([0.1, 0.3, 0.2, 0.15, 0.25]),
  )
  logits_V[ids] = np.log(share)
  ids_B = draw(np.tile(logits_V, (4000, 1)), keys(4000), Sampling(temperature=1.0))
  found = np.bincount(ids_B, minlength=5000)
  assert found[ids].sum() == 4000
  chi_square = ((found[ids] - 4000 * share) ** 2 / (4000 * share)).sum()
  assert chi_square < 4 + 4 * 8**0.5


def test_the_distribution_is_that_of_the_draws():
  logits_BV = random_logits(len(MIXED), 40)
  rows = SamplingRows.of(MIXED)
  share_BV = np.asarray(distribution(logits_BV, rows, Work.of(rows, 40)))
  for logits_V, share_V, cfg in zip(logits_BV, share_BV, MIXED, strict=True):
    if cfg.temperature == 0:
      expected_V = np.eye(40)[logits_V.argmax()]
    else:
      (ids,) = kept_ids(logits_V[None], cfg)
      is_kept_V = np.isin(np.arange(40), list(ids))
      expected_V = softmax(np.where(is_kept_V, logits_V / cfg.temperature, -1e9))
    np.testing.assert_allclose(share_V, expected_V, atol=1e-6)
