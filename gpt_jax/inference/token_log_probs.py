"""The model's log-probabilities beside each written token."""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core.types import Array

MOST = 20
"""Likeliest tokens that one request can ask for at each place, as OpenAI's API."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogProbs:
  """In nats, of the model as it is: before bias, penalties, masks and temperature."""

  written: Array
  """Of the written token, float32 [...]."""
  top: Array
  """Of the MOST likeliest ids, descending, float32 [..., K]."""
  top_id: Array

  @classmethod
  def zeros(cls, *shape, vocab_size):
    K = min(MOST, vocab_size)
    return cls(
      jnp.zeros(shape, jnp.float32),
      jnp.zeros((*shape, K), jnp.float32),
      jnp.zeros((*shape, K), jnp.int32),
    )

  def cut(self, k, start=0, stop=None):
    """Returns those of [N, ...] from `start` to `stop`, with the k likeliest ids."""
    part = slice(start, stop)
    return LogProbs(self.written[part], self.top[part, :k], self.top_id[part, :k])

  def row(self, i):
    """Returns those of row i of [B, ...]."""
    return LogProbs(self.written[i], self.top[i], self.top_id[i])

  def at(self, i, other):
    """Returns this [B, C] with `other` [B] in column i."""
    return jax.tree.map(lambda old, new: old.at[:, i].set(new), self, other)


def of(logits_BV, token_B):
  """Returns the LogProbs [B] of tokens at logits [B, V], or with more axes each."""
  log_probs_BV = jax.nn.log_softmax(logits_BV, axis=-1)
  written_B1 = jnp.take_along_axis(log_probs_BV, token_B[..., None], axis=-1)
  top_BK, top_id_BK = jax.lax.top_k(log_probs_BV, min(MOST, logits_BV.shape[-1]))
  return LogProbs(written_B1[..., 0], top_BK, top_id_BK)
