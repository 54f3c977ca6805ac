"""FlashAttention (arXiv:2205.14135, section 3.1) over pairs of blocks in plain XLA.

Softmax is online (arXiv:1805.02867): the state of a query (output, row_sum, row_max)
takes blocks of keys in any order. `blockwise` and `ring` say which pairs there are.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core.matmul import einsum, sum_dtype

LOWEST = float(np.finfo(np.float32).min)  # as `masks` adds to scores of hidden keys


def is_visible(mask, first_t, last_t, first_s, last_s):
  """Returns whether a query of first_t..last_t may see a key of first_s..last_s, bool.

  Bounds are inclusive NumPy arrays, and broadcast.
  """
  # False only where indices alone say so: a visible prefix and the position of a query
  # in a cache are known when the program runs.
  visible = np.ones(np.broadcast_shapes(first_t.shape, first_s.shape), bool)
  if mask.query_start_B is None:
    if mask.causal and mask.prefix_B is None:
      visible &= first_s <= last_t
    if mask.window is not None:
      visible &= (first_t - last_s < mask.window) & (first_s - last_t < mask.window)
  return visible


def block_size(length):
  """Returns how many tokens a block of a sequence of `length` has at most."""
  # 256 keeps a tile of scores in fast memory at usual batch sizes and skips 37 % of the
  # pairs of 1024 tokens. Long sequences come in small batches, whose tiles are too
  # small to fill a TPU's matrix unit: at 8192 tokens 512 needs 0.62 of the cycles.
  return 256 if length < 4096 else 512


@dataclasses.dataclass(frozen=True)
class Tiles:
  """What all pairs of blocks have in common."""

  query_size: int
  key_size: int
  softcap: float
  num_keys: int | None = None  # keys from this index on are padding

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
    scores_BGRTS = einsum('BGRTK,BGSK->BGRTS', q_BGRTK, k_BGSK, sum_dtype(q_BGRTK))
    if not self.softcap:
      return scores_BGRTS
    return self.softcap * jnp.tanh(scores_BGRTS / self.softcap)


# Below, T and S of what is read from an array count the tokens of one block. A pair is
# (t, s, query, key): where its blocks begin in the arrays, and in the mask.


def init(q_BGRTK):
  """Returns the state (output, row_sum, row_max) of queries that saw no key yet."""
  zeros_BGRTK = jnp.zeros_like(q_BGRTK, sum_dtype(q_BGRTK))
  zeros_BGRT = zeros_BGRTK[..., 0]
  return zeros_BGRTK, zeros_BGRT, zeros_BGRT + LOWEST


def update(tiles, state, q_BGRTK, k_BGSK, v_BGSK, mask, pairs):
  """Returns the state after the pairs, four int32 [N] that a scan runs through."""
  dtype = sum_dtype(q_BGRTK)

  def visit(state, pair):
    out_BGRTK, row_sum_BGRT, row_max_BGRT = state
    t, s, query, key = pair
    read_t = functools.partial(_read, start=t, size=tiles.query_size, axis=3)
    read_s = functools.partial(_read, start=s, size=tiles.key_size, axis=2)
    write_t = functools.partial(_write, start=t, axis=3)
    bias_BGRTS = tiles.bias(mask, query, key, q_BGRTK.shape)
    scores_BGRTS = tiles.scores(read_t(q_BGRTK), read_s(k_BGSK)) + bias_BGRTS
    old_max_BGRT = read_t(row_max_BGRT)
    new_max_BGRT = jnp.maximum(old_max_BGRT, scores_BGRTS.max(-1))
    weights_BGRTS = jnp.exp(scores_BGRTS - new_max_BGRT[..., None])
    rescale_BGRT = jnp.exp(old_max_BGRT - new_max_BGRT)
    values_BGRTK = einsum(
      'BGRTS,BGSK->BGRTK', weights_BGRTS.astype(v_BGSK.dtype), read_s(v_BGSK), dtype
    )
    new_out_BGRTK = rescale_BGRT[..., None] * read_t(out_BGRTK) + values_BGRTK
    new_sum_BGRT = rescale_BGRT * read_t(row_sum_BGRT) + weights_BGRTS.sum(-1)
    state = (
      write_t(out_BGRTK, new_out_BGRTK),
      write_t(row_sum_BGRT, new_sum_BGRT),
      write_t(row_max_BGRT, new_max_BGRT),
    )
    return state, None

  return jax.lax.scan(visit, state, pairs)[0]


def finalize(state, dtype):
  """Returns the output in `dtype`, and each query's log-sum-exp of scores, float32."""
  out_BGRTK, row_sum_BGRT, row_max_BGRT = state
  # A query that saw no key gets zeros, and a log-sum-exp so large that its weights are
  # 0 in the backward pass too.
  is_empty_BGRT = row_max_BGRT <= LOWEST / 2
  out_BGRTK = out_BGRTK / jnp.where(is_empty_BGRT, jnp.inf, row_sum_BGRT)[..., None]
  lse_BGRT = jnp.where(is_empty_BGRT, -LOWEST, row_max_BGRT + jnp.log(row_sum_BGRT))
  return out_BGRTK.astype(dtype), lse_BGRT


def delta(out_BGRTK, d_out_BGRTK):
  """Returns FlashAttention's `rowsum(dO * O)`, float32 (appendix B.2)."""
  dtype = sum_dtype(out_BGRTK)
  return jnp.sum(d_out_BGRTK.astype(dtype) * out_BGRTK.astype(dtype), -1)


def add_gradients(
  tiles, grads, q_BGRTK, k_BGSK, v_BGSK, mask, lse_BGRT, delta_BGRT, d_out_BGRTK, pairs
):
  """Returns `grads` (of queries, keys and values, float32) plus those of the pairs."""
  dtype = sum_dtype(q_BGRTK)

  def visit(grads, pair):
    dq_BGRTK, dk_BGSK, dv_BGSK = grads
    t, s, query, key = pair
    read_t = functools.partial(_read, start=t, size=tiles.query_size, axis=3)
    read_s = functools.partial(_read, start=s, size=tiles.key_size, axis=2)
    q, k, d_out = read_t(q_BGRTK), read_s(k_BGSK), read_t(d_out_BGRTK)
    bias_BGRTS = tiles.bias(mask, query, key, q_BGRTK.shape)
    scores_BGRTS = tiles.scores(q, k)
    weights_BGRTS = jnp.exp(scores_BGRTS + bias_BGRTS - read_t(lse_BGRT)[..., None])
    d_weights_BGRTS = einsum('BGRTK,BGSK->BGRTS', d_out, read_s(v_BGSK), dtype)
    d_scores_BGRTS = weights_BGRTS * (d_weights_BGRTS - read_t(delta_BGRT)[..., None])
    if tiles.softcap:  # of c tanh(s / c): 1 - tanh^2
      d_scores_BGRTS *= 1 - (scores_BGRTS / tiles.softcap) ** 2
    weights_BGRTS = weights_BGRTS.astype(q.dtype)
    d_scores_BGRTS = d_scores_BGRTS.astype(q.dtype)
    dq = read_t(dq_BGRTK) + einsum('BGRTS,BGSK->BGRTK', d_scores_BGRTS, k, dtype)
    dk = read_s(dk_BGSK) + _sum_over_queries(d_scores_BGRTS, q, dtype)
    dv = read_s(dv_BGSK) + _sum_over_queries(weights_BGRTS, d_out, dtype)
    grads = (
      _write(dq_BGRTK, dq, start=t, axis=3),
      _write(dk_BGSK, dk, start=s, axis=2),
      _write(dv_BGSK, dv, start=s, axis=2),
    )
    return grads, None

  return jax.lax.scan(visit, grads, pairs)[0]


def _sum_over_queries(x_BGRTS, y_BGRTK, dtype):
  return einsum('BGRTS,BGRTK->BGSK', x_BGRTS, y_BGRTK, dtype)


def _read(x, *, start, size, axis):
  return jax.lax.dynamic_slice_in_dim(x, start, size, axis)


def _write(x, block, *, start, axis):
  return jax.lax.dynamic_update_slice_in_dim(x, block, start, axis)
