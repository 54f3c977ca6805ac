"""Prefix lengths, where the loss falls and who sees what."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives import Vocab, prefix_lm

CFG = load.resolve(base.get_config()).objective


def examples(rows, seq_len, segments=None, **fields):
  cfg = dataclasses.replace(CFG, **fields)
  objective = prefix_lm.make(cfg, vocab=Vocab(10), seq_len=seq_len)
  batch = dict(tokens=jnp.ones((rows, seq_len + 1), jnp.int32))
  if segments is not None:
    batch['segments'] = segments
  return jax.jit(objective)(batch, jax.random.key(0))


def test_prefix_lengths_are_uniform_between_min_and_max():
  got = examples(4000, 100, prefix_min=0.2, prefix_max=0.6)
  lengths = np.asarray(got.mask.prefix_B)
  assert lengths.min() == 20 and lengths.max() == 60
  # Standard deviation of the mean: 40 / sqrt(12 * 4000) = 0.18 tokens.
  assert abs(lengths.mean() - 40) < 0.8
  assert abs(lengths.std() - 40 / 12**0.5) < 0.5


def test_the_targets_are_exactly_the_tokens_after_the_prefix():
  got = examples(1, 8, prefix_min=0.375, prefix_max=0.375)
  # Prefix = tokens 0 to 2; token 2 predicts token 3, the first of the suffix.
  np.testing.assert_array_equal(got.weights_BT, [[0, 0, 1, 1, 1, 1, 1, 1]])
  allowed = np.asarray(got.mask.allowed(8, 8)[0])
  assert allowed[:, :3].all()
  np.testing.assert_array_equal(allowed[:, 3:], np.tri(8, dtype=bool)[:, 3:])


def test_a_prefix_of_zero_is_the_causal_objective():
  got = examples(2, 8, prefix_min=0.0, prefix_max=0.0)
  np.testing.assert_array_equal(got.weights_BT, np.ones((2, 8)))
  np.testing.assert_array_equal(got.mask.allowed(8, 8)[0], np.tri(8, dtype=bool))


def test_the_share_is_of_real_tokens_so_padded_rows_have_targets():
  segments = jnp.array([[1] * 4 + [0] * 13])
  got = examples(1, 16, segments, prefix_min=0.5, prefix_max=0.5)
  assert int(got.mask.prefix_B[0]) == 2
  np.testing.assert_array_equal(np.flatnonzero(got.weights_BT[0]), [1, 2])


def test_with_a_loss_mask_the_prefix_ends_at_the_first_target():
  objective = prefix_lm.make(CFG, vocab=Vocab(10), seq_len=8)
  prompts, sizes = np.array([3, 5, 0]), np.array([6, 9, 0])  # the last row is empty
  place = np.arange(9)[None]
  batch = dict(
    tokens=jnp.ones((3, 9), jnp.int32),
    segments=jnp.array(place < sizes[:, None], jnp.int32),
    loss_mask=jnp.array((place >= prompts[:, None]) & (place < sizes[:, None]), int),
  )
  got = jax.jit(objective)(batch, jax.random.key(0))
  np.testing.assert_array_equal(got.mask.prefix_B, prompts)
  # No target stands in the prefix, and every token that bears loss is a target.
  np.testing.assert_array_equal(got.weights_BT, batch['loss_mask'][:, 1:])
  allowed_BTS = np.asarray(got.mask.allowed(8, 8))
  for row in (0, 1):
    prompt = slice(0, prompts[row])
    assert allowed_BTS[row, prompt, prompt].all()
    later = slice(prompts[row], min(sizes[row], 8))
    assert not allowed_BTS[row, prompt, later].any()
    count = later.stop - later.start
    np.testing.assert_array_equal(
      allowed_BTS[row, later, later], np.tri(count, dtype=bool)
    )


def test_of_several_documents_the_first_alone_has_a_prefix():
  objective = prefix_lm.make(CFG, vocab=Vocab(10), seq_len=6)
  batch = dict(
    tokens=jnp.ones((1, 7), jnp.int32),
    segments=jnp.array([[1, 1, 1, 2, 2, 2, 2]]),
    loss_mask=jnp.array([[0, 0, 1, 0, 0, 1, 1]]),
  )
  got = objective(batch, jax.random.key(0))
  np.testing.assert_array_equal(got.weights_BT, [[0, 1, 0, 0, 1, 1]])
  allowed = np.asarray(got.mask.allowed(6, 6)[0])
  assert allowed[:2, :2].all()
  np.testing.assert_array_equal(allowed[3:, 3:], np.tri(3, dtype=bool))
  assert not allowed[3:, :3].any() and not allowed[:3, 3:].any()


def test_a_min_above_the_max_is_refused():
  with pytest.raises(ConfigError, match='prefix_min=0.9: above'):
    examples(1, 8, prefix_min=0.9, prefix_max=0.1)
