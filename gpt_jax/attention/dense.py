"""Attention by its definition, with the whole score matrix: the oracle."""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.core.matmul import einsum, sum_dtype


def attend(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap=0.0, dropout=None):
  """Returns attention's output, [B, H, T, K] in the dtype of `q_BHTK`.

  arXiv:1706.03762, eq. 1; grouped heads: arXiv:2305.13245. A query that sees no key
  gives zeros, without gradient. `scale` multiplies queries;
  `softcap` c > 0 maps scores s to c tanh(s / c) (Gemma 2, arXiv:2408.00118); `dropout`
  is a function applied to attention weights.
  """
  B, H, T, K = q_BHTK.shape
  scores_BGRTS = masked_scores(q_BHTK, k_BGSK, mask, scale=scale, softcap=softcap)
  weights_BGRTS = softmax(scores_BGRTS, q_BHTK.dtype)
  if dropout is not None:
    weights_BGRTS = dropout(weights_BGRTS)
  out_BGRTK = einsum('BGRTS,BGSK->BGRTK', weights_BGRTS, v_BGSK)
  out_BHTK = mask.zero_blind(out_BGRTK.reshape(B, H, T, K), k_BGSK.shape[2])
  return checkpoint_name(out_BHTK, 'attended')


def masked_scores(q_BHTK, k_BGSK, mask, *, scale, softcap=0.0):
  """Returns what the softmax reads, float32 [B, G, H / G, T, S].

  ALiBi's term is in them; those of hidden keys are near the lowest float32.
  """
  B, H, T, K = q_BHTK.shape
  G, S = k_BGSK.shape[1:3]
  # In float32: 1/sqrt(K) rounded to bfloat16 would stretch all scores by up to 0.2 %.
  q_BHTK = (q_BHTK.astype(sum_dtype(q_BHTK)) * scale).astype(q_BHTK.dtype)
  # Query heads of one group stand side by side (R = H / G): K and V are not repeated.
  q_BGRTK = q_BHTK.reshape(B, G, H // G, T, K)
  if T == 1:  # a step of decoding: keys as they lie, which the other order transposes
    scores_BGSR = einsum(
      'BGSK,BGRK->BGSR', k_BGSK, q_BGRTK[:, :, :, 0], sum_dtype(q_BHTK)
    )
    scores_BGRTS = scores_BGSR.swapaxes(2, 3)[:, :, :, None]
  else:
    scores_BGRTS = einsum('BGRTK,BGSK->BGRTS', q_BGRTK, k_BGSK, sum_dtype(q_BHTK))
  if softcap:
    scores_BGRTS = softcap * jnp.tanh(scores_BGRTS / softcap)
  mask_BHTS = mask.dense(T, S)
  if mask_BHTS.shape[1] == 1:
    mask_BGRTS = mask_BHTS[:, :, None]
  else:
    mask_BGRTS = mask_BHTS.reshape(-1, G, H // G, T, S)
  return scores_BGRTS + mask_BGRTS


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def softmax(scores_TS, dtype):
  """Returns the softmax over the last axis, rounded to `dtype`."""
  # Its derivative reads the rounded weights: nothing of full precision is saved for the
  # backward pass, and no division is done twice.
  return jax.nn.softmax(scores_TS, axis=-1).astype(dtype)


@softmax.defjvp
def _softmax_jvp(dtype, primals, tangents):
  (scores_TS,), (d_scores_TS,) = primals, tangents
  weights_TS = softmax(scores_TS, dtype)
  exact_TS = weights_TS.astype(scores_TS.dtype)
  mean_T1 = jnp.sum(exact_TS * d_scores_TS, axis=-1, keepdims=True)
  d_weights_TS = exact_TS * (d_scores_TS - mean_T1)
  return weights_TS, d_weights_TS.astype(dtype)
