"""What an objective is, and the example that it makes of a batch."""

import dataclasses
from collections.abc import Callable

import jax

from gpt_jax.attention.masks import Mask
from gpt_jax.core.types import Array, Batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Example:
  """A batch as the model and the loss need it; a pytree.

  Loss = sum(weights * nll) / sum(weights) over the global batch.
  """

  inputs_BT: Array
  targets_BT: Array
  weights_BT: Array
  """float32; 0 where nothing is to be predicted, padding above all."""
  mask: Mask
  positions_BT: Array | None = None
  """None: every row counts from 0."""


VISIBILITIES = ('causal', 'prefix', 'bidirectional')
"""A token attends to those before it; to all of the prefix as well; to all tokens."""


@dataclasses.dataclass(frozen=True)
class Vocab:
  """What an objective needs from the tokenizer."""

  size: int
  """The objective's own tokens have ids from here on."""
  eos_id: int | None = None


@dataclasses.dataclass(frozen=True)
class Objective:
  """A pure function `(batch, rng) -> Example`, shapes static, and its properties."""

  # Called on the global batch, before that is split into microbatches: k of them draw
  # the same random numbers as one.
  build: Callable[[Batch, Array], Example]
  extra_tokens: int = 0
  """Ids that it adds above the tokenizer's; depends on config and `seq_len` only."""
  visibility: str = 'causal'
  """What its masks let a token see, one of VISIBILITIES; decoding and plans use it."""
  predicts_text: bool = False
  """Whether each token of the text is a target, given all before it: only then do bits
  per byte, n-gram baselines and the entropy of a source mean something."""

  def __call__(self, batch, rng):
    return self.build(batch, rng)


def split(values_BN):
  """Returns (inputs, shifted targets), [B, T] each, of samples [B, N = T + 1]."""
  return values_BN[:, :-1], values_BN[:, 1:]
