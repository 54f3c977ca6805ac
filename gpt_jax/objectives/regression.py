"""Predict a number for each document, with a task head of one output.

BERT on STS-B, arXiv:1810.04805, section 4.1: mean squared error. The number stands
where class_labels has its label, and is read as one.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import DataError
from gpt_jax.core.sections import one_of, section
from gpt_jax.objectives import class_labels, own_loss
from gpt_jax.objectives.example import Objective, split
from gpt_jax.objectives.losses import LossSums

FIELDS = ('labels', 'numbers')
"""Of a document: 0 on its last token, -1 elsewhere; there, the bits of its number."""


@section
class Regression:
  """`objective.options` of regression: those of class_labels without classes."""

  attention: str = one_of('causal', 'bidirectional', default='causal')
  pooling: str = one_of('last', 'first', 'mean', default='last')


@registry.entry(options=Regression, problems=own_loss.problems_of_texts)
def make(cfg, *, vocab, seq_len):
  """Returns the objective of documents with FIELDS; loss: the mean squared error."""
  classes = class_labels.make(as_class_labels(cfg), vocab=vocab, seq_len=seq_len)
  outputs_of = classes.outputs
  assert outputs_of is not None

  def build(batch, rng):
    if 'numbers' not in batch:
      raise DataError(
        'objective.name=regression: the documents have no numbers; set'
        ' task.name="regression", or give a data.source whose documents have the'
        f' fields {", ".join(FIELDS)} beside "tokens" (docs/extending.md).'
      )
    example = classes(batch, rng)
    _, bits_BT = split(batch['numbers'])
    numbers_BT = jax.lax.bitcast_convert_type(jnp.asarray(bits_BT), jnp.float32)
    # Padding may be any bits, and no number times 0 is none.
    targets_BT = jnp.where(example.weights_BT > 0, numbers_BT, 0.0)
    return dataclasses.replace(example, targets_BT=targets_BT)

  def loss(forward, example):
    outputs_BT = outputs_of(forward, example)[..., 0].astype(jnp.float32)
    errors_BT = example.weights_BT * jnp.square(outputs_BT - example.targets_BT)
    return LossSums(
      objective_sum=jnp.sum(errors_BT),
      weight_sum=jnp.sum(example.weights_BT),
      metric_sums={'loss': jnp.sum(errors_BT)},
    )

  return Objective(
    build,
    loss,
    outputs=outputs_of,
    num_outputs=1,
    visibility=cfg.options.attention,
    fields=FIELDS,
    metrics=number_metrics,
    predictions=classes.predictions,
  )


def as_class_labels(cfg):
  """Returns an ObjectiveConfig of class_labels that reads texts as `cfg` says."""
  options = class_labels.ClassLabels(
    attention=cfg.options.attention, pooling=cfg.options.pooling
  )
  return dataclasses.replace(cfg, options=options)


def bits(number):
  """Returns the bits of a number as float32, an int: fields of tokens are int32."""
  return int(np.float32(number).view(np.int32))


def number_metrics(sums) -> dict[str, float]:
  """Returns loss (mean squared error) and the number of documents."""
  return dict(
    loss=sums['loss'] / max(sums['targets'], 1.0), documents=int(sums['targets'])
  )
