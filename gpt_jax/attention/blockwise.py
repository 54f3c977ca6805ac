"""Attention block by block in plain XLA: linear memory, no work where nothing is seen.

Queries and keys are cut into blocks, and a scan visits the pairs of blocks in which
some query sees some key: about half of them under a causal mask, a band with a window.
The list of pairs is made while tracing, so the program is as small for 16,384 tokens as
for 512 and its FLOPs can be counted. The softmax runs online over a query's pairs
(arXiv:1805.02867); the backward pass keeps the output and one number per query, and
computes scores again (FlashAttention, arXiv:2205.14135, section 3.1).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.attention import dense
from gpt_jax.errors import ConfigError
from gpt_jax.matmul import einsum, sum_dtype

LOWEST = float(np.finfo(np.float32).min)
"""What `masks` writes where nothing is seen."""


def attend(
  q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap=0.0, dropout=None, block=None
):
  """Returns attention's output as `dense.attend` does; see there for the arguments.

  Args:
    block: tokens in a block of queries or keys, at most; None: `block_size`.
  Queries that see no key (padding) give zeros. ALiBi's slopes get no gradient. Raises
  ConfigError for dropout.
  """
  if dropout is not None:
    raise ConfigError(
      'model.attention_dropout: the blockwise kernel cannot do it; use'
      ' attention.kernel="dense".'
    )
  B, H, T, K = q_BHTK.shape
  G, S = k_BGSK.shape[1:3]
  if T == 1:  # a step of decoding: one row of scores, where blocks have nothing to save
    return dense.attend(q_BHTK, k_BGSK, v_BGSK, mask, scale=scale, softcap=softcap)
  blocks = Blocks(
    T, S, _even(T, block or block_size(T)), _even(S, block or block_size(S))
  )
  more_T, more_S = -T % blocks.query_size, -S % blocks.key_size
  # Scaled in float32, as the dense kernel does and for its reason.
  q_BHTK = (q_BHTK.astype(sum_dtype(q_BHTK)) * scale).astype(q_BHTK.dtype)
  # Query heads of one group stand side by side (R = H / G): K and V are not repeated.
  out_BGRTK = _attend(
    blocks,
    softcap,
    _pad(q_BHTK.reshape(B, G, H // G, T, K), more_T),
    _pad(k_BGSK, more_S),
    _pad(v_BGSK, more_S),
    mask.pad(more_T, more_S),
  )
  return out_BGRTK[..., :T, :].reshape(B, H, T, K)


def block_size(length):
  """Returns how many tokens a block of a sequence of `length` has at most.

  256 keeps a tile of scores in fast memory at usual batch sizes and skips 37 % of the
  pairs of 1024 tokens. Long sequences come in small batches, whose tiles are too small
  to fill a TPU's matrix unit: at 8192 tokens 512 needs 0.62 of the cycles of 256.
  """
  return 256 if length < 4096 else 512


@dataclasses.dataclass(frozen=True)
class Blocks:
  """How one attention is cut, in tokens; padding is in the sizes, not in the counts."""

  num_queries: int
  num_keys: int
  query_size: int
  key_size: int

  def pairs(self, mask):
    """Returns the first query and first key of each pair to visit, int32 [N, 2].

    A pair is left out when indices alone say that it is hidden. A visible prefix and
    the place of a query in a cache are known only when the program runs.
    """
    first_t = np.arange(0, self.num_queries, self.query_size)[:, None]
    first_s = np.arange(0, self.num_keys, self.key_size)[None]
    last_t = np.minimum(first_t + self.query_size, self.num_queries) - 1
    last_s = np.minimum(first_s + self.key_size, self.num_keys) - 1
    is_seen = np.ones((len(first_t), first_s.size), bool)
    if mask.query_start_B is None:
      if mask.causal and mask.prefix_B is None:
        is_seen &= first_s <= last_t
      if mask.window is not None:
        is_seen &= (first_t - last_s < mask.window) & (first_s - last_t < mask.window)
    sizes = (self.query_size, self.key_size)
    return (np.argwhere(is_seen) * sizes).astype(np.int32)


def _even(length, block):
  """Returns the size of equal blocks, as few as `block` tokens in each allow."""
  return -(-length // -(-length // block))


def _pad(x_TK, more):
  widths = [(0, 0)] * (x_TK.ndim - 2) + [(0, more), (0, 0)]
  return jnp.pad(x_TK, widths) if more else x_TK


# Below, what is read from a whole array is one block of it: T and S count its tokens.


def _output(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask) -> jax.Array:
  return _forward(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask)[0]


def _forward(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask):
  def visit(carry, pair):
    out_BGRTK, total_BGRT, top_BGRT = carry
    t, s = pair
    read_t = functools.partial(_read, start=t, size=blocks.query_size, axis=3)
    read_s = functools.partial(_read, start=s, size=blocks.key_size, axis=2)
    write_t = functools.partial(_write, start=t, axis=3)
    bias_BGRTS = _bias(blocks, mask, t, s, q_BGRTK.shape)
    scores_BGRTS = _scores(read_t(q_BGRTK), read_s(k_BGSK), softcap) + bias_BGRTS
    old_BGRT = read_t(top_BGRT)
    new_BGRT = jnp.maximum(old_BGRT, scores_BGRTS.max(-1))
    weights_BGRTS = jnp.exp(scores_BGRTS - new_BGRT[..., None])
    kept_BGRT = jnp.exp(old_BGRT - new_BGRT)  # what older sums are worth now
    values_BGRTK = einsum(
      'BGRTS,BGSK->BGRTK', weights_BGRTS.astype(v_BGSK.dtype), read_s(v_BGSK), dtype
    )
    block_BGRTK = kept_BGRT[..., None] * read_t(out_BGRTK) + values_BGRTK
    block_BGRT = kept_BGRT * read_t(total_BGRT) + weights_BGRTS.sum(-1)
    carry = (
      write_t(out_BGRTK, block_BGRTK),
      write_t(total_BGRT, block_BGRT),
      write_t(top_BGRT, new_BGRT),
    )
    return carry, None

  dtype = sum_dtype(q_BGRTK)
  nothing_BGRTK = jnp.zeros_like(q_BGRTK, dtype)
  nothing_BGRT = nothing_BGRTK[..., 0]
  carry = (nothing_BGRTK, nothing_BGRT, nothing_BGRT + LOWEST)
  carry, _ = jax.lax.scan(visit, carry, tuple(blocks.pairs(mask).T))
  out_BGRTK, total_BGRT, top_BGRT = carry
  # A row that saw only hidden keys has weights of exp(0): they are taken back here, and
  # in the backward pass by a log-sum-exp that no score comes near.
  is_empty_BGRT = top_BGRT <= LOWEST / 2
  out_BGRTK = out_BGRTK / jnp.where(is_empty_BGRT, jnp.inf, total_BGRT)[..., None]
  log_sum_BGRT = jnp.where(is_empty_BGRT, -LOWEST, top_BGRT + jnp.log(total_BGRT))
  # Named here: a remat policy that saves both spares the second forward pass.
  out_BGRTK = checkpoint_name(out_BGRTK.astype(q_BGRTK.dtype), 'attended')
  log_sum_BGRT = checkpoint_name(log_sum_BGRT, 'attended')
  return out_BGRTK, (q_BGRTK, k_BGSK, v_BGSK, mask, out_BGRTK, log_sum_BGRT)


def _backward(blocks, softcap, saved, d_out_BGRTK):
  q_BGRTK, k_BGSK, v_BGSK, mask, out_BGRTK, log_sum_BGRT = saved
  dtype = log_sum_BGRT.dtype
  # The softmax's own derivative: what raising all weights of a row alike would change.
  shift_BGRT = jnp.sum(d_out_BGRTK.astype(dtype) * out_BGRTK.astype(dtype), -1)

  def visit(grads, pair):
    dq_BGRTK, dk_BGSK, dv_BGSK = grads
    t, s = pair
    read_t = functools.partial(_read, start=t, size=blocks.query_size, axis=3)
    read_s = functools.partial(_read, start=s, size=blocks.key_size, axis=2)
    q, k, d_out = read_t(q_BGRTK), read_s(k_BGSK), read_t(d_out_BGRTK)
    bias_BGRTS = _bias(blocks, mask, t, s, q_BGRTK.shape)
    scores_BGRTS = _scores(q, k, softcap)
    weights_BGRTS = jnp.exp(scores_BGRTS + bias_BGRTS - read_t(log_sum_BGRT)[..., None])
    d_weights_BGRTS = einsum('BGRTK,BGSK->BGRTS', d_out, read_s(v_BGSK), dtype)
    d_scores_BGRTS = weights_BGRTS * (d_weights_BGRTS - read_t(shift_BGRT)[..., None])
    if softcap:  # of c tanh(s / c): 1 - tanh^2
      d_scores_BGRTS *= 1 - (scores_BGRTS / softcap) ** 2
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

  inputs = (q_BGRTK, k_BGSK, v_BGSK)
  grads = tuple(jnp.zeros_like(x, dtype) for x in inputs)
  grads, _ = jax.lax.scan(visit, grads, tuple(blocks.pairs(mask).T))
  grads = (grad.astype(x.dtype) for grad, x in zip(grads, inputs, strict=True))
  return *grads, None


_attend = jax.custom_vjp(_output, nondiff_argnums=(0, 1))
_attend.defvjp(_forward, _backward)


def _scores(q_BGRTK, k_BGSK, softcap):
  scores_BGRTS = einsum('BGRTK,BGSK->BGRTS', q_BGRTK, k_BGSK, sum_dtype(q_BGRTK))
  return softcap * jnp.tanh(scores_BGRTS / softcap) if softcap else scores_BGRTS


def _over_queries(x_BGRTS, y_BGRTK, dtype):
  """Returns the sum over all queries of a group, [B, G, S, K]."""
  return einsum('BGRTS,BGRTK->BGSK', x_BGRTS, y_BGRTK, dtype)


def _bias(blocks, mask, t, s, shape_BGRTK):
  """Returns the mask of one pair of blocks, to add to scores, [B or 1, G, R, T, S]."""
  T, S = blocks.query_size, blocks.key_size
  bias_BHTS = mask.tile(t, s, T, S).dense(T, S)
  if blocks.num_keys % S:  # the last block of keys ends in padding
    bias_BHTS = jnp.where(s + jnp.arange(S) < blocks.num_keys, bias_BHTS, LOWEST)
  if bias_BHTS.shape[1] == 1:
    return bias_BHTS[:, :, None]
  return bias_BHTS.reshape(-1, *shape_BGRTK[1:3], T, S)


def _read(x, *, start, size, axis):
  return jax.lax.dynamic_slice_in_dim(x, start, size, axis)


def _write(x, block, *, start, axis):
  return jax.lax.dynamic_update_slice_in_dim(x, block, start, axis)
