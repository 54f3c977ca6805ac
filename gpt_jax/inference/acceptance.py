"""Which drafted token stays, so that the text is one of the model that checks it.

Speculative sampling: arXiv:2302.01318, algorithm 2; arXiv:2211.17192, section 2.3.
"""

import jax
import jax.numpy as jnp

# What the random stream of a token is split into; plain sampling uses none of these.
ACCEPTING, DRAWING, DRAFTING = 1, 2, 3


def keys(rng_B, count_B, purpose):
  """Returns a key for each row's token number `count_B` and one of the purposes."""

  def row(rng, count):
    return jax.random.fold_in(jax.random.fold_in(rng, count), purpose)

  return jax.vmap(row)(rng_B, count_B)


def draw(share_BV, key_B):
  """Returns an id for each row, drawn by `share_BV`, which need not sum to 1."""
  # A row with one share above 0 is decided, whatever the noise: greedy stays greedy.
  noise_BV = jax.vmap(lambda key: jax.random.gumbel(key, share_BV.shape[1:]))(key_B)
  return jnp.argmax(noise_BV + jnp.log(share_BV), axis=-1).astype(jnp.int32)


def choose(target_BV, draft_B, drafted_BV, rng_B, count_B):
  """Returns (tokens [B], whether they are the drafts).

  A draft stays with probability min(1, target / drafted); else the token is drawn from
  what the target has more than the draft. Either way it is distributed as the target.

  Args:
    target_BV: probabilities of the next token.
    draft_B: the drafted token; -1: none, the token is drawn from the target.
    drafted_BV: the probabilities by which it was drafted; 0 everywhere without a draft.
  """
  place_B1 = jnp.maximum(draft_B, 0)[:, None]
  target_B = jnp.take_along_axis(target_BV, place_B1, axis=1)[:, 0]
  drafted_B = jnp.take_along_axis(drafted_BV, place_B1, axis=1)[:, 0]
  uniform_B = jax.vmap(jax.random.uniform)(keys(rng_B, count_B, ACCEPTING))
  # Never a token that the target excludes: 0 < 0 is false.
  is_kept_B = (draft_B >= 0) & (uniform_B * drafted_B < target_B)
  more_BV = jnp.maximum(target_BV - drafted_BV, 0)
  # Equal but for rounding: then a rejection is as rare as that, and any draw is right.
  is_equal_B1 = jnp.sum(more_BV, axis=-1, keepdims=True) <= 0
  more_BV = jnp.where(is_equal_B1, target_BV, more_BV)
  drawn_B = draw(more_BV, keys(rng_B, count_B, DRAWING))
  return jnp.where(is_kept_B, draft_B, drawn_B), is_kept_B
