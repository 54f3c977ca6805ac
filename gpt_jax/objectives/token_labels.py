"""Predict the label of each token from the text around it, with a task head.

Labels are the field `labels` of a document with `tokens`, one for each; -1 is none, as
of word pieces after the first. BERT, arXiv:1810.04805, section 5.3.
"""

import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.core import registry
from gpt_jax.core.errors import DataError
from gpt_jax.core.sections import at_least, between, one_of, section
from gpt_jax.objectives import class_weights
from gpt_jax.objectives.causal_lm import input_segments, input_token_types
from gpt_jax.objectives.class_labels import NO_LABEL
from gpt_jax.objectives.example import Example, Objective


@section
class TokenLabels:
  """`objective.options` of token_labels."""

  num_labels: int = between(2, 2**20, default=2)
  class_weights: tuple[float, ...] = at_least(0.0, default=())
  attention: str = one_of('bidirectional', 'causal', default='bidirectional')


@registry.entry(options=TokenLabels, problems=class_weights.problems)
def make(cfg, *, vocab, seq_len):
  """Returns the objective for labels below `num_labels`; loss is nats per label."""
  del vocab, seq_len
  options = cfg.options
  mask_of = getattr(masks, options.attention)

  def build(batch, rng):
    del rng
    if 'labels' not in batch:
      raise DataError(
        'objective.name=token_labels: the documents have no labels; give a data.source'
        ' whose documents have the field "labels" beside "tokens" (docs/extending.md).'
      )
    # The last token of a row is there for shifted targets.
    inputs_BT, labels_BT = batch['tokens'][:, :-1], batch['labels'][:, :-1]
    positions_BN = batch.get('positions')
    targets_BT = jnp.maximum(labels_BT, 0)
    weights_BT = (labels_BT != NO_LABEL).astype(jnp.float32)
    return Example(
      inputs_BT=inputs_BT,
      targets_BT=targets_BT,
      weights_BT=weights_BT,
      loss_weights_BT=class_weights.loss_weights(options, targets_BT, weights_BT),
      mask=mask_of(input_segments(batch)),
      positions_BT=None if positions_BN is None else positions_BN[:, :-1],
      token_types_BT=input_token_types(batch),
    )

  return Objective(
    build,
    num_outputs=options.num_labels,
    visibility=options.attention,
    metrics=label_metrics,
    predictions=lambda outputs_BTC, example: {'outputs': outputs_BTC},
    eval_metrics=('macro_f1',),
  )


def label_metrics(sums) -> dict[str, float]:
  """Returns loss (nats per label), accuracy and the number of labelled tokens."""
  count = sums.get('unweighted_targets', sums['targets'])
  return dict(
    loss=sums['loss'] / max(sums['targets'], 1.0),
    accuracy=sums['accuracy'] / max(count, 1.0),
    labels=int(count),
  )
