"""Predict the label of each document from its text, with a task head.

A label stands at the document's last token (field `labels`, -1 elsewhere), so it passes
through any packing. Like a next token it is predicted one place before, by a query that
has seen the text up to there: the document without its end token.
"""

import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.core import registry
from gpt_jax.core.errors import DataError, Problem
from gpt_jax.core.sections import at_least, between, one_of, section
from gpt_jax.objectives import class_weights
from gpt_jax.objectives.causal_lm import (
  input_segments,
  input_token_types,
  next_token_weights,
)
from gpt_jax.objectives.example import Example, Objective, split

NO_LABEL = -1


@section
class ClassLabels:
  """`objective.options` of class_labels."""

  num_labels: int = between(2, 2**20, default=2)
  class_weights: tuple[float, ...] = at_least(0.0, default=())
  attention: str = one_of('causal', 'bidirectional', default='causal')
  pooling: str = one_of('last', 'first', 'mean', 'marked', default='last')


def problems(config):
  """Returns the Problems of a Config: labels that get lost, weights of no class."""
  found = list(class_weights.problems(config))
  if config.data.append_eos:
    return found
  text = (
    '=False: the place of the end token carries the label of class_labels; set True'
  )
  return [*found, Problem('data.append_eos', text)]


@registry.entry(options=ClassLabels, problems=problems)
def make(cfg, *, vocab, seq_len):
  """Returns the objective for labels below `num_labels`; loss is nats per label.

  The task head reads the last token's stream, the first one's (BERT's [CLS]), or their
  mean (arXiv:1908.10084, section 3), or the mean of those that the field `read` marks,
  such as the starts of entities (arXiv:1906.03158, section 3.2).
  """
  del vocab, seq_len
  options = cfg.options
  mask_of = getattr(masks, options.attention)

  def build(batch, rng):
    del rng
    if 'labels' not in batch:
      raise DataError(
        'objective.name=class_labels: the documents have no labels; set'
        ' data.label_field to the field of the records that has them.'
      )
    inputs_BT, _ = split(batch['tokens'])
    _, labels_BT = split(batch['labels'])
    positions_BN = batch.get('positions')
    targets_BT = jnp.maximum(labels_BT, 0)
    # The place before may be another document's, if this one has no text.
    weights_BT = jnp.where(labels_BT != NO_LABEL, next_token_weights(batch), 0.0)
    return Example(
      inputs_BT=inputs_BT,
      targets_BT=targets_BT,
      weights_BT=weights_BT,
      loss_weights_BT=class_weights.loss_weights(options, targets_BT, weights_BT),
      mask=mask_of(input_segments(batch)),
      positions_BT=None if positions_BN is None else positions_BN[:, :-1],
      token_types_BT=input_token_types(batch),
      read_BT=_read(batch) if options.pooling == 'marked' else None,
    )

  def outputs(forward, example):
    if options.pooling == 'last':
      return forward(*example.inputs)
    x_BTD, _ = forward.hidden(*example.inputs)
    read_BTS = _read_shares(options.pooling, example)
    pooled_BTD = jnp.einsum('BTS,BSD->BTD', read_BTS, x_BTD.astype(jnp.float32))
    return forward.task_head(pooled_BTD.astype(x_BTD.dtype))

  return Objective(
    build,
    outputs=outputs,
    num_outputs=options.num_labels,
    visibility=options.attention,
    labels_texts=True,
    metrics=label_metrics,
    predictions=_predictions,
    fields=('read',) if options.pooling == 'marked' else (),
    eval_metrics=('macro_f1',),
  )


def _read(batch):
  if 'read' not in batch:
    raise DataError(
      'objective.options.pooling=marked: the documents have no field "read" that says'
      ' which tokens to read; the rows of task.name=relations have it.'
    )
  return batch['read'][:, :-1]


def _predictions(outputs_BTC, example):
  place_B11 = jnp.argmax(example.weights_BT, axis=1)[:, None, None]
  outputs_BC = jnp.take_along_axis(outputs_BTC, place_B11, axis=1)[:, 0]
  return {'outputs': outputs_BC.astype(jnp.float32)}


def _read_shares(pooling, example):
  """Returns how much of each place the query of a label reads, float32 [B, T, S]."""
  place_T = jnp.arange(example.inputs_BT.shape[1])
  segments_BT = example.mask.segments_BT
  if segments_BT is None:
    segments_BT = jnp.ones_like(example.inputs_BT)
  is_read_BTS = segments_BT[:, :, None] == segments_BT[:, None, :]
  is_read_BTS &= place_T <= place_T[:, None]
  if pooling == 'marked':
    is_read_BTS &= example.read_BT[:, None, :] > 0
  if pooling == 'first':
    is_read_BTS &= jnp.cumsum(is_read_BTS, axis=-1) == 1
  return is_read_BTS / jnp.maximum(is_read_BTS.sum(-1, keepdims=True), 1)


def label_metrics(sums) -> dict[str, float]:
  """Returns loss (nats per label), accuracy and the number of labelled documents."""
  count = sums.get('unweighted_targets', sums['targets'])
  return dict(
    loss=sums['loss'] / max(sums['targets'], 1.0),
    accuracy=sums['accuracy'] / max(count, 1.0),
    documents=int(count),
  )
