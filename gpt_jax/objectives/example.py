"""What an objective is, and the example that it makes of a batch."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.attention.masks import Mask
from gpt_jax.core.types import Array, Batch
from gpt_jax.objectives import losses
from gpt_jax.objectives.losses import LossSums


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
  token_types_BT: Array | None = None
  """The part of each token, for models with model.token_types; None: all 0."""
  loss_weights_BT: Array | None = None
  """Weights in the loss, of objectives with a task head; None: `weights_BT`."""
  read_BT: Array | None = None
  """1 at the tokens that a label is read from, where a task marks them."""

  @property
  def inputs(self):
    """What the model is called with."""
    return self.inputs_BT, self.mask, self.positions_BT, self.token_types_BT


VISIBILITIES = ('causal', 'prefix', 'bidirectional')
"""A token attends to those before it; to all of the prefix as well; to all tokens."""


@dataclasses.dataclass(frozen=True)
class Vocab:
  """What an objective needs from the tokenizer."""

  size: int
  """The objective's own tokens have ids from here on."""
  eos_id: int | None = None
  special_tokens: Mapping[str, int] | None = None
  """Name -> id of the tokens that no text is encoded as; None: not known yet."""


@dataclasses.dataclass(frozen=True, eq=False)
class Exits:
  """Losses of the streams after single layers, and layers that training skips.

  The first three arguments of `weights` and `drop_rates` are the step, which is traced,
  the steps of the run and the number of layers.
  """

  weights: Callable[[Any, int, int], Array]
  """-> float32 [L] of sum 1: share of each exit in the loss, the last layer's last."""
  at_once: Callable[[int], int]
  """Of a number of layers: how many before the last bear loss in a step, at most."""
  drop_rates: Callable[[Any, int, int], Array]
  """-> float32 [L]: rate at which a row skips the whole layer."""
  scored: Callable[[int], tuple[int, ...]]
  """Of a number of layers: after how many of them evaluation reports a loss, besides
  that after all."""


def token_weight(example):
  """Returns the weight of all targets of an Example in its loss."""
  if example.loss_weights_BT is not None:
    return jnp.sum(example.loss_weights_BT)
  return jnp.sum(example.weights_BT)


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
  """What a batch is made into, and the loss of that.

  A pure function `(batch, rng) -> example`. With a `loss` of its own, an example may be
  any pytree whose leaves have the number of examples as first axis: microbatches are
  parts of it, so sequences that belong together, such as a pair, stand in one row.
  """

  # Called on the global batch, before that is split into microbatches: k of them draw
  # the same random numbers as one.
  build: Callable[[Batch, Array], Any]
  loss: Callable[[Any, Any], LossSums] | None = None
  """`(forward: program.forward.Forward, example) -> LossSums`, of one microbatch; None:
  cross-entropy over the tokens of an Example."""
  outputs: Callable[[Any, Any], Array] | None = None
  """`(forward, example)` -> [B, T, C] that predict the targets of an Example, for the
  usual loss and for eval.metrics; None: those of the model at each position."""
  exits: Exits | None = None
  """Losses at layers before the last; None: of the last alone."""
  weight: Callable[[Any], Array] = token_weight
  """The weight of an example, by which its loss is divided: its `weight_sum`."""
  num_outputs: int = 0
  """Of a task head in place of the language-model head (`objective.head`); 0: none."""
  step_metrics: tuple[str, ...] = ('loss', 'accuracy')
  """Scalars among `metric_sums` whose weighted means each step reports."""
  metrics: Callable[[dict], dict[str, float]] = losses.token_metrics
  """From summed `metric_sums`, float64, and their `targets` to held-out metrics."""
  predictions: Callable[[Any, Any], dict[str, Any]] | None = None
  """`(outputs_BTC, example)` -> arrays with a row for each of the example's: what a
  task makes its predictions of. None: nothing."""
  eval_metrics: tuple[str, ...] = ()
  """Names of evaluation.metrics.METRICS, beside those of eval.metrics."""
  references: Mapping[str, str] = dataclasses.field(default_factory=dict)
  """Workdirs of other models, by the name under which `loss` finds them."""
  fields: tuple[str, ...] = ()
  """What a batch has to have beside tokens and labels (`data/fields.py`)."""
  extra_tokens: int = 0
  """Ids that it adds above the tokenizer's; depends on config and `seq_len` only."""
  visibility: str = 'causal'
  """What its masks let a token see, one of VISIBILITIES; decoding and plans use it."""
  labels_texts: bool = False
  """Whether a target is the class of a whole text, one of each: mixup mixes those."""
  predicts_text: bool = False
  """Whether each token of the text is a target, given all before it: only then do bits
  per byte, n-gram baselines and the entropy of a source mean something."""

  @property
  def writes_text(self):
    """Whether a model trained by it can write text from left to right."""
    return self.visibility != 'bidirectional' and not self.num_outputs

  def __call__(self, batch, rng):
    return self.build(batch, rng)


def split(values_BN):
  """Returns (inputs, shifted targets), [B, T] each, of samples [B, N = T + 1]."""
  return values_BN[:, :-1], values_BN[:, 1:]
