"""Attention block by block in plain XLA: linear memory, hidden blocks skipped.

A scan visits the pairs of a block of queries and one of keys in which some query sees
some key: about half of them under a causal mask, a band with a window. What happens at
a pair is in `online_softmax`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.attention import dense, online_softmax
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.matmul import einsum, sum_dtype


def attend(
  q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap=0.0, dropout=None, block=None
):
  """Returns attention's output as `dense.attend` does.

  ALiBi's slopes get no gradient. `block`: tokens in a block, at most. Raises
  ConfigError for dropout.
  """
  if dropout is not None:
    raise ConfigError(
      'model.attention_dropout: the blockwise kernel cannot do it; use'
      ' attention.kernel="dense".'
    )
  B, H, T, K = q_BHTK.shape
  P, G = mask.num_virtual, k_BGSK.shape[1]
  S = k_BGSK.shape[2] - P
  if T == 1:  # a step of decoding: one row of scores, nothing to save by blocks
    return dense.attend(q_BHTK, k_BGSK, v_BGSK, mask, scale=scale, softcap=softcap)
  blocks = Blocks(
    T,
    S,
    _even(T, block or online_softmax.block_size(T)),
    _even(S, block or online_softmax.block_size(S)),
  )
  pad_T, pad_S = -T % blocks.query_size, -S % blocks.key_size
  # Scaled in float32, as the dense kernel does and for its reason.
  q_BHTK = (q_BHTK.astype(sum_dtype(q_BHTK)) * scale).astype(q_BHTK.dtype)
  # Query heads of one group stand side by side (R = H / G): K and V are not repeated.
  q_BGRTK = q_BHTK.reshape(B, G, H // G, T, K)
  out_BGRTK, lse_BGRT = _attend(
    blocks,
    softcap,
    _pad(q_BGRTK, pad_T),
    _pad(k_BGSK[:, :, P:], pad_S),
    _pad(v_BGSK[:, :, P:], pad_S),
    mask.with_virtual(0).pad(pad_T, pad_S),
  )
  out_BGRTK, lse_BGRT = out_BGRTK[..., :T, :], lse_BGRT[..., :T]
  if P:
    virtual = k_BGSK[:, :, :P], v_BGSK[:, :, :P]
    out_BGRTK = _with_virtual(out_BGRTK, lse_BGRT, q_BGRTK, *virtual, mask, softcap)
  out_BHTK = out_BGRTK.reshape(B, H, T, K)
  return mask.zero_blind(out_BHTK, P + S) if P else out_BHTK


def _with_virtual(out_BGRTK, lse_BGRT, q_BGRTK, k_BGPK, v_BGPK, mask, softcap):
  """Returns the output with virtual keys beside those that `out` and `lse` are of."""
  dtype = lse_BGRT.dtype
  scores_BGRTP = einsum('BGRTK,BGPK->BGRTP', q_BGRTK, k_BGPK, dtype)
  if softcap:
    scores_BGRTP = softcap * jnp.tanh(scores_BGRTP / softcap)
  bias_BHTP = mask.virtual(q_BGRTK.shape[3])
  if bias_BHTP.shape[1] == 1:
    scores_BGRTP += bias_BHTP[:, :, None]
  else:
    scores_BGRTP += bias_BHTP.reshape(-1, *q_BGRTK.shape[1:4], bias_BHTP.shape[3])
  # `finalize` gives queries that saw no other key a huge sum; theirs is 0.
  is_empty_BGRT = lse_BGRT >= -online_softmax.LOWEST / 2
  lse_BGRT = jnp.where(is_empty_BGRT, online_softmax.LOWEST, lse_BGRT)
  # The sum of all weights, by which those of both parts are divided.
  total_BGRT = jnp.logaddexp(lse_BGRT, jax.nn.logsumexp(scores_BGRTP, axis=-1))
  weights_BGRTP = jnp.exp(scores_BGRTP - total_BGRT[..., None]).astype(v_BGPK.dtype)
  values_BGRTK = einsum('BGRTP,BGPK->BGRTK', weights_BGRTP, v_BGPK, dtype)
  kept_BGRT1 = jnp.exp(lse_BGRT - total_BGRT)[..., None]
  return (kept_BGRT1 * out_BGRTK.astype(dtype) + values_BGRTK).astype(out_BGRTK.dtype)


@dataclasses.dataclass(frozen=True)
class Blocks:
  """The blocks of one attention, in tokens; counts are without padding."""

  num_queries: int
  num_keys: int
  query_size: int
  key_size: int

  def tiles(self, softcap):
    is_padded = self.num_keys % self.key_size  # the last block of keys ends in padding
    num_keys = self.num_keys if is_padded else None
    return online_softmax.Tiles(self.query_size, self.key_size, softcap, num_keys)

  def pairs(self, mask):
    """Returns the first query and first key of each pair to visit, int32 [N, 2]."""
    # Known while tracing: the program is as small for 16,384 tokens as for 512, and its
    # FLOPs can be counted.
    first_t = np.arange(0, self.num_queries, self.query_size)[:, None]
    first_s = np.arange(0, self.num_keys, self.key_size)[None]
    last_t = np.minimum(first_t + self.query_size, self.num_queries) - 1
    last_s = np.minimum(first_s + self.key_size, self.num_keys) - 1
    visible = online_softmax.is_visible(mask, first_t, last_t, first_s, last_s)
    sizes = (self.query_size, self.key_size)
    return (np.argwhere(visible) * sizes).astype(np.int32)


def _even(length, block):
  # The size of equal blocks, as few as `block` tokens in each allow.
  return -(-length // -(-length // block))


def _pad(x_TK, tokens):
  widths = [(0, 0)] * (x_TK.ndim - 2) + [(0, tokens), (0, 0)]
  return jnp.pad(x_TK, widths) if tokens else x_TK


def _output(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask) -> Any:
  """Returns the output, and each query's log-sum-exp of scores."""
  return _forward(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask)[0]


def _forward(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask):
  tiles, state = blocks.tiles(softcap), online_softmax.init(q_BGRTK)
  pairs = _pairs(blocks, mask)
  state = online_softmax.update(tiles, state, q_BGRTK, k_BGSK, v_BGSK, mask, pairs)
  out_BGRTK, lse_BGRT = online_softmax.finalize(state, q_BGRTK.dtype)
  # A remat policy that saves both spares the second forward pass.
  out_BGRTK = checkpoint_name(out_BGRTK, 'attended')
  lse_BGRT = checkpoint_name(lse_BGRT, 'attended')
  saved = (q_BGRTK, k_BGSK, v_BGSK, mask, out_BGRTK, lse_BGRT)
  return (out_BGRTK, lse_BGRT), saved


def _backward(blocks, softcap, saved, cotangents):
  d_out_BGRTK, d_lse_BGRT = cotangents
  q_BGRTK, k_BGSK, v_BGSK, mask, out_BGRTK, lse_BGRT = saved
  inputs = (q_BGRTK, k_BGSK, v_BGSK)
  grads = online_softmax.add_gradients(
    blocks.tiles(softcap),
    tuple(jnp.zeros_like(x, lse_BGRT.dtype) for x in inputs),
    *inputs,
    mask,
    lse_BGRT,
    # The gradient of a log-sum-exp by the scores is their softmax.
    online_softmax.delta(out_BGRTK, d_out_BGRTK) - d_lse_BGRT,
    d_out_BGRTK,
    _pairs(blocks, mask),
  )
  grads = (grad.astype(x.dtype) for grad, x in zip(grads, inputs, strict=True))
  return *grads, None


_attend = jax.custom_vjp(_output, nondiff_argnums=(0, 1))
_attend.defvjp(_forward, _backward)


def _pairs(blocks, mask):
  # Here indices in the arrays are those in the mask.
  t, s = blocks.pairs(mask).T
  return t, s, t, s
