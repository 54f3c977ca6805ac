"""What a text has already changes the logits of its next token: bias and penalties."""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class History:
  """Which ids each row has read and written; a pytree."""

  in_prompt_BV: Array
  count_BV: Array
  """How often each id was written after the prompt."""

  @classmethod
  def of(cls, tokens_BT, length_B, vocab_size):
    """Returns that of prompts: of each row `length_B` ids are real."""
    B, T = tokens_BT.shape
    is_real_BT = jnp.arange(T) < length_B[:, None]
    # Ids past the vocabulary are dropped.
    id_BT = jnp.where(is_real_BT, tokens_BT, vocab_size)
    none_BV = jnp.zeros((B, vocab_size), bool)
    rows_B1 = jnp.arange(B)[:, None]
    in_prompt_BV = none_BV.at[rows_B1, id_BT].set(True, mode='drop')
    return cls(in_prompt_BV, jnp.zeros((B, vocab_size), jnp.int32))

  def add(self, token_B, times=1):
    """Returns this History after each row wrote `token_B`."""
    rows_B = jnp.arange(len(token_B))
    count_BV = jnp.asarray(self.count_BV).at[rows_B, token_B].add(times)
    return dataclasses.replace(self, count_BV=count_BV)


def adjust(logits_BV, rows, history):
  """Returns `logits_BV` with each row's bias, then its penalties.

  Repetition divides the logits of ids in prompt or text, where positive, and multiplies
  them where negative (arXiv:1909.05858, section 4.1). Frequency is subtracted as often
  as the id was written after the prompt, presence once (OpenAI's API). `rows` is a
  SamplingRows; rows that ask for nothing keep their logits bit by bit.
  """
  logits_BV = jax.lax.cond(
    jnp.any(rows.bias_BI != 0), _bias, lambda logits_BV, *_: logits_BV, logits_BV, rows
  )
  return jax.lax.cond(
    jnp.any(rows.is_penalized_B),
    _penalize,
    lambda logits_BV, *_: logits_BV,
    logits_BV,
    rows,
    history,
  )


def _bias(logits_BV, rows):
  rows_B1 = jnp.arange(len(logits_BV))[:, None]
  return logits_BV.at[rows_B1, rows.bias_id_BI].add(rows.bias_BI, mode='drop')


def _penalize(logits_BV, rows, history):
  count_BV = history.count_BV
  repetition_B1 = jnp.where(rows.repetition_B == 0, 1, rows.repetition_B)[:, None]
  is_seen_BV = history.in_prompt_BV | (count_BV > 0)
  smaller_BV = jnp.where(
    logits_BV < 0, logits_BV * repetition_B1, logits_BV / repetition_B1
  )
  logits_BV = jnp.where(is_seen_BV, smaller_BV, logits_BV)
  logits_BV = logits_BV - rows.frequency_B[:, None] * count_BV
  return logits_BV - rows.presence_B[:, None] * (count_BV > 0)
