"""Predict each token from those before it."""

import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.objectives.example import Example, Objective, split


def make(cfg, *, vocab, seq_len):
  """Returns the left-to-right objective; a token is predicted from its own document."""
  del cfg, vocab, seq_len

  def build(batch, rng):
    del rng
    inputs_BT, targets_BT = split(batch['tokens'])
    positions_BN = batch.get('positions')
    return Example(
      inputs_BT=inputs_BT,
      targets_BT=targets_BT,
      weights_BT=next_token_weights(batch),
      mask=masks.causal(input_segments(batch)),
      positions_BT=None if positions_BN is None else positions_BN[:, :-1],
    )

  return Objective(build, predicts_text=True)


def input_segments(batch):
  """Returns the segments [B, T] of the input tokens, or None without segments."""
  segments_BN = batch.get('segments')
  return None if segments_BN is None else segments_BN[:, :-1]


def input_token_types(batch):
  """Returns the token types [B, T] of the input tokens, or None without any."""
  types_BN = batch.get('token_types')
  return None if types_BN is None else types_BN[:, :-1]


def next_token_weights(batch):
  """Returns 1.0 where a token and its successor share a document, float32 [B, T].

  0.0 where the `loss_mask` of the successor is 0: such tokens are only read.
  """
  weights_BT = jnp.ones_like(batch['tokens'][:, 1:], jnp.float32)
  if 'segments' in batch:
    segments_BT, next_segments_BT = split(batch['segments'])
    is_same_BT = (segments_BT == next_segments_BT) & (next_segments_BT != 0)
    weights_BT = is_same_BT.astype(jnp.float32)
  if 'loss_mask' in batch:
    weights_BT *= batch['loss_mask'][:, 1:]
  return weights_BT
