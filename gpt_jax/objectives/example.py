"""What an objective makes of a batch: inputs, targets, weights, attention mask."""

import dataclasses
from collections.abc import Callable

import jax

from gpt_jax.attention.masks import Mask
from gpt_jax.core.types import Array, Batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Example:
  """A batch as the model and the loss need it; a pytree.

  Loss = sum(weights * nll) / sum(weights), both sums over the whole global batch.
  """

  inputs_BT: Array
  targets_BT: Array
  weights_BT: Array
  """float32; 0 where nothing is to be predicted, padding above all."""
  mask: Mask
  positions_BT: Array | None = None
  """None: every row counts from 0."""


VISIBILITIES = ('causal', 'prefix', 'bidirectional')
"""A token sees those before it; the whole prefix as well; the whole text."""


@dataclasses.dataclass(frozen=True)
class Vocab:
  """What an objective must know of the tokenizer."""

  size: int
  """Ids from here on are free for the objective's own tokens."""
  eos_id: int | None = None


@dataclasses.dataclass(frozen=True)
class Objective:
  """A pure function `(batch, rng) -> Example` with static shapes.

  It sees the whole global batch, before that is split into microbatches, so that k of
  them draw the same random numbers as one.
  """

  build: Callable[[Batch, Array], Example]
  extra_tokens: int = 0
  """Ids that it adds above the tokenizer's; needs only the config and `seq_len`."""
  visibility: str = 'causal'
  """What the mask of its examples lets a token see, one of VISIBILITIES: decoding,
  evaluation and plans go by it."""
  predicts_text: bool = False
  """Whether the targets are the text itself, each token given all before it: only then
  is the loss one of bits per byte, to be compared with n-grams and entropy."""

  def __call__(self, batch, rng):
    return self.build(batch, rng)


def split(values_BN):
  """Returns (inputs, shifted targets), [B, T] each, of samples [B, N = T + 1]."""
  return values_BN[:, :-1], values_BN[:, 1:]
