"""Attention over pairs of blocks, one after the other: values first, gradients again.

The softmax runs online over a query's pairs (arXiv:1805.02867): a state (output, sum,
maximum) takes them in any order. The backward pass needs the output and one number per
query, and computes scores again (FlashAttention, arXiv:2205.14135, section 3.1). What
the pairs are, and where their blocks come from, is up to `blockwise` and `ring`.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core.matmul import einsum, sum_dtype

LOWEST = float(np.finfo(np.float32).min)
"""What `masks` writes where nothing is seen."""


def is_seen(mask, first_t, last_t, first_s, last_s):
  """Returns whether a query of first_t..last_t may see a key of first_s..last_s, bool.

  The bounds are NumPy arrays of indices, included and broadcast. False only where
  indices alone say so: a visible prefix and the place of a query in a cache are known
  when the program runs.
  """
  seen = np.ones(np.broadcast_shapes(first_t.shape, first_s.shape), bool)
  if mask.query_start_B is None:
    if mask.causal and mask.prefix_B is None:
      seen &= first_s <= last_t
    if mask.window is not None:
      seen &= (first_t - last_s < mask.window) & (first_s - last_t < mask.window)
  return seen


def block_size(length):
  """Returns how many tokens a block of a sequence of `length` has at most.

  256 keeps a tile of scores in fast memory at usual batch sizes and skips 37 % of the
  pairs of 1024 tokens. Long sequences come in small batches, whose tiles are too small
  to fill a TPU's matrix unit: at 8192 tokens 512 needs 0.62 of the cycles of 256.
  """
  return 256 if length < 4096 else 512


@dataclasses.dataclass(frozen=True)
class Tiles:
  """What all pairs have in common."""

  query_size: int
  key_size: int
  softcap: float
  num_keys: int | None = None
  """Keys from this index on are padding; None: none are."""

  def bias(self, mask, t, s, shape_BGRTK):
    """Returns the mask of one pair, to add to scores, [B or 1, G or 1, R, T, S]."""
    T, S = self.query_size, self.key_size
    bias_BHTS = mask.tile(t, s, T, S).dense(T, S)
    if self.num_keys is not None:
      bias_BHTS = jnp.where(s + jnp.arange(S) < self.num_keys, bias_BHTS, LOWEST)
    if bias_BHTS.shape[1] == 1:
      return bias_BHTS[:, :, None]
    return bias_BHTS.reshape(-1, *shape_BGRTK[1:3], T, S)

  def scores(self, q_BGRTK, k_BGSK):
    """Returns products of queries and keys, soft-capped, float32."""
    scores_BGRTS = einsum('BGRTK,BGSK->BGRTS', q_BGRTK, k_BGSK, sum_dtype(q_BGRTK))
    if not self.softcap:
      return scores_BGRTS
    return self.softcap * jnp.tanh(scores_BGRTS / self.softcap)


# Below, what is read from a whole array is one block of it: T and S count its tokens.
# A pair is (t, s, query, key): where its blocks begin in the arrays, and in the mask.


def start(q_BGRTK):
  """Returns the state of queries that have seen no key yet."""
  nothing_BGRTK = jnp.zeros_like(q_BGRTK, sum_dtype(q_BGRTK))
  nothing_BGRT = nothing_BGRTK[..., 0]
  return nothing_BGRTK, nothing_BGRT, nothing_BGRT + LOWEST


def absorb(tiles, state, q_BGRTK, k_BGSK, v_BGSK, mask, pairs):
  """Returns the state after the pairs, four int32 [N] that a scan runs through."""
  dtype = sum_dtype(q_BGRTK)

  def visit(state, pair):
    out_BGRTK, total_BGRT, top_BGRT = state
    t, s, query, key = pair
    read_t = functools.partial(_read, start=t, size=tiles.query_size, axis=3)
    read_s = functools.partial(_read, start=s, size=tiles.key_size, axis=2)
    write_t = functools.partial(_write, start=t, axis=3)
    bias_BGRTS = tiles.bias(mask, query, key, q_BGRTK.shape)
    scores_BGRTS = tiles.scores(read_t(q_BGRTK), read_s(k_BGSK)) + bias_BGRTS
    old_BGRT = read_t(top_BGRT)
    new_BGRT = jnp.maximum(old_BGRT, scores_BGRTS.max(-1))
    weights_BGRTS = jnp.exp(scores_BGRTS - new_BGRT[..., None])
    kept_BGRT = jnp.exp(old_BGRT - new_BGRT)  # what older sums are worth now
    values_BGRTK = einsum(
      'BGRTS,BGSK->BGRTK', weights_BGRTS.astype(v_BGSK.dtype), read_s(v_BGSK), dtype
    )
    block_BGRTK = kept_BGRT[..., None] * read_t(out_BGRTK) + values_BGRTK
    block_BGRT = kept_BGRT * read_t(total_BGRT) + weights_BGRTS.sum(-1)
    state = (
      write_t(out_BGRTK, block_BGRTK),
      write_t(total_BGRT, block_BGRT),
      write_t(top_BGRT, new_BGRT),
    )
    return state, None

  return jax.lax.scan(visit, state, pairs)[0]


def finish(state, dtype):
  """Returns the output in `dtype` and the log-sum-exp of each query's scores, float32.

  A query that saw no key gets zeros, and a log-sum-exp that no score comes near, which
  keeps it silent in the backward pass too: its weights were exp(0) so far.
  """
  out_BGRTK, total_BGRT, top_BGRT = state
  is_empty_BGRT = top_BGRT <= LOWEST / 2
  out_BGRTK = out_BGRTK / jnp.where(is_empty_BGRT, jnp.inf, total_BGRT)[..., None]
  log_sum_BGRT = jnp.where(is_empty_BGRT, -LOWEST, top_BGRT + jnp.log(total_BGRT))
  return out_BGRTK.astype(dtype), log_sum_BGRT


def shift(out_BGRTK, d_out_BGRTK):
  """Returns what raising all weights of a query alike would change, float32.

  It is the softmax's own share of the derivative.
  """
  dtype = sum_dtype(out_BGRTK)
  return jnp.sum(d_out_BGRTK.astype(dtype) * out_BGRTK.astype(dtype), -1)


def add_gradients(
  tiles, grads, q_BGRTK, k_BGSK, v_BGSK, mask, log_sum_BGRT, shift_BGRT, d_out_BGRTK,
  pairs,
):  # fmt: skip
  """Returns `grads`, of queries, keys and values in float32, with those of the pairs.

  `log_sum_BGRT` is of `finish` after all pairs, `shift_BGRT` of `shift`.
  """
  dtype = sum_dtype(q_BGRTK)

  def visit(grads, pair):
    dq_BGRTK, dk_BGSK, dv_BGSK = grads
    t, s, query, key = pair
    read_t = functools.partial(_read, start=t, size=tiles.query_size, axis=3)
    read_s = functools.partial(_read, start=s, size=tiles.key_size, axis=2)
    q, k, d_out = read_t(q_BGRTK), read_s(k_BGSK), read_t(d_out_BGRTK)
    bias_BGRTS = tiles.bias(mask, query, key, q_BGRTK.shape)
    scores_BGRTS = tiles.scores(q, k)
    weights_BGRTS = jnp.exp(scores_BGRTS + bias_BGRTS - read_t(log_sum_BGRT)[..., None])
    d_weights_BGRTS = einsum('BGRTK,BGSK->BGRTS', d_out, read_s(v_BGSK), dtype)
    d_scores_BGRTS = weights_BGRTS * (d_weights_BGRTS - read_t(shift_BGRT)[..., None])
    if tiles.softcap:  # of c tanh(s / c): 1 - tanh^2
      d_scores_BGRTS *= 1 - (scores_BGRTS / tiles.softcap) ** 2
    weights_BGRTS = weights_BGRTS.astype(q.dtype)
    d_scores_BGRTS = d_scores_BGRTS.astype(q.dtype)
    dq = read_t(dq_BGRTK) + einsum('BGRTS,BGSK->BGRTK', d_scores_BGRTS, k, dtype)
    dk = read_s(dk_BGSK) + _over_queries(d_scores_BGRTS, q, dtype)
    dv = read_s(dv_BGSK) + _over_queries(weights_BGRTS, d_out, dtype)
    grads = (
      _write(dq_BGRTK, dq, start=t, axis=3),
      _write(dk_BGSK, dk, start=s, axis=2),
      _write(dv_BGSK, dv, start=s, axis=2),
    )
    return grads, None

  return jax.lax.scan(visit, grads, pairs)[0]


def _over_queries(x_BGRTS, y_BGRTK, dtype):
  """Returns the sum over all queries of a group, [B, G, S, K]."""
  return einsum('BGRTS,BGRTK->BGSK', x_BGRTS, y_BGRTK, dtype)


def _read(x, *, start, size, axis):
  return jax.lax.dynamic_slice_in_dim(x, start, size, axis)


def _write(x, block, *, start, axis):
  return jax.lax.dynamic_update_slice_in_dim(x, block, start, axis)
