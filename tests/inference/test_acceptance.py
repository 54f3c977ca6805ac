"""Tokens that are drafted and checked are distributed as the target says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gpt_jax.inference import acceptance, sampling
from gpt_jax.inference.sampling import SamplingRows, Work
from gpt_jax.inference.settings import Sampling
from tests import small_models as small

V, DRAWS = 8, 20_000
TARGET_V = np.array([0.3, 0.0, 0.2, 0.05, 0.25, 0.1, 0.1, 0.0], np.float32)
DRAFTS = {
  'as the target': TARGET_V,
  'elsewhere': np.array([0, 0.5, 0, 0.1, 0, 0, 0.1, 0.3], np.float32),
  'one token': np.eye(V, dtype=np.float32)[2],
  'uniform': np.full(V, 1 / V, np.float32),
}


@small.jit
def drawn(drafted_V, rng):
  """Returns (tokens, which are drafts) of DRAWS independent rows."""
  rng_B = jax.random.split(rng, DRAWS)
  count_B = jnp.zeros(DRAWS, jnp.int32)
  drafted_BV = jnp.broadcast_to(drafted_V, (DRAWS, V))
  key_B = acceptance.keys(rng_B, count_B, acceptance.DRAFTING)
  draft_B = acceptance.draw(drafted_BV, key_B)
  target_BV = jnp.broadcast_to(jnp.asarray(TARGET_V), (DRAWS, V))
  return acceptance.choose(target_BV, draft_B, drafted_BV, rng_B, count_B)


@pytest.mark.parametrize('name', DRAFTS)
def test_tokens_are_distributed_as_the_target(name):
  token_B, is_kept_B = map(np.asarray, drawn(DRAFTS[name], jax.random.key(1)))
  counts_V = np.bincount(token_B, minlength=V)
  assert not counts_V[TARGET_V == 0].any()
  possible_V = TARGET_V > 0
  expected_V = TARGET_V[possible_V].astype(np.float64)
  expected_V *= DRAWS / expected_V.sum()
  test = scipy.stats.chisquare(counts_V[possible_V], expected_V)
  assert test.pvalue > 1e-3
  # As many drafts stay as the two distributions have in common.
  common = np.minimum(TARGET_V, DRAFTS[name]).sum()
  assert abs(is_kept_B.mean() - common) < 4 * 0.5 / DRAWS**0.5


def test_without_a_draft_the_token_is_drawn_from_the_target():
  rng_B, none_B = jax.random.split(jax.random.key(0), 3), jnp.zeros(3, jnp.int32)
  target_BV = jnp.eye(V)[jnp.array([5, 0, 7])]
  token_B, is_kept_B = small.jit(acceptance.choose)(
    target_BV, none_B - 1, jnp.zeros((3, V)), rng_B, none_B
  )
  assert token_B.tolist() == [5, 0, 7]
  assert not is_kept_B.any()


def test_greedy_rows_keep_a_draft_if_and_only_if_it_is_the_best():
  rng_B, count_B = jax.random.split(jax.random.key(0), V), jnp.arange(V)
  target_BV = jnp.broadcast_to(jnp.eye(V)[3], (V, V))
  token_B, is_kept_B = small.jit(acceptance.choose)(
    target_BV, jnp.arange(V), jnp.eye(V), rng_B, count_B
  )
  assert token_B.tolist() == [3] * V
  assert is_kept_B.tolist() == [i == 3 for i in range(V)]


SETTINGS = [
  Sampling(),
  Sampling(temperature=0.5),
  Sampling(temperature=1.0, top_k=3),
  Sampling(temperature=2.0, top_p=0.6),
  Sampling(temperature=1.0, min_p=0.2),
  Sampling(temperature=1.0, top_k=5, typical_p=0.7),
]


def test_the_distribution_is_the_one_that_sampling_draws_from():
  rows = SamplingRows.of(SETTINGS)
  logits_BV = jnp.broadcast_to(jnp.log(TARGET_V + 1e-3), (len(SETTINGS), V))

  @small.jit
  def both(rng):
    work = Work.of(rows, V)

    def one(rng):
      rng_B = jax.random.split(rng, len(SETTINGS))
      count_B = jnp.zeros(len(SETTINGS), jnp.int32)
      return sampling.sample(logits_BV, rng_B, count_B, rows, work)

    token_NB = jax.lax.map(one, jax.random.split(rng, 5000), batch_size=500)
    return token_NB, sampling.distribution(logits_BV, rows, work)

  token_NB, share_BV = map(np.asarray, both(jax.random.key(0)))
  np.testing.assert_allclose(share_BV.sum(1), 1, rtol=1e-6)
  for row, share_V in enumerate(share_BV):
    counts_V = np.bincount(token_NB[:, row], minlength=V)
    assert not counts_V[share_V == 0].any()
    kept_V = share_V > 0
    expected_V = share_V[kept_V].astype(np.float64)
    expected_V *= 5000 / expected_V.sum()
    if kept_V.sum() > 1:
      assert scipy.stats.chisquare(counts_V[kept_V], expected_V).pvalue > 1e-4
