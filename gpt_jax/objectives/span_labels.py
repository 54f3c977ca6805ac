"""Predict where an answer starts and ends in a row: two softmaxes over its tokens.

BERT, arXiv:1810.04805, section 4.2; rows without an answer point at their first token,
section 4.3. A query of causal attention has not seen what follows, least of all the
first one: of such models the probability of no answer hardly depends on the question.
"""

import jax
import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.core import registry
from gpt_jax.core.errors import DataError, Problem
from gpt_jax.core.sections import one_of, section
from gpt_jax.objectives import own_loss
from gpt_jax.objectives.causal_lm import input_segments, input_token_types
from gpt_jax.objectives.example import Example, Objective
from gpt_jax.objectives.losses import LossSums

FIELDS = ('can_answer', 'starts', 'ends')
"""Of a document: 1 on tokens of which an answer can be made, and on the first one of
the row, which stands for none; 1 on its first token; 1 on its last token."""
START, END = 1, 2  # bits of a target


@section
class SpanLabels:
  """`objective.options` of span_labels."""

  attention: str = one_of('bidirectional', 'causal', default='bidirectional')


def problems(config):
  """Returns the Problems of a Config: settings of other losses, several texts a row."""
  found = own_loss.problems(config)
  if not config.task.name and config.data.packing != 'pad':
    text = f'={config.data.packing!r}: a row of span_labels has one answer; set "pad"'
    found.append(Problem('data.packing', text))
  return found


@registry.entry(options=SpanLabels, problems=problems)
def make(cfg, *, vocab, seq_len):
  """Returns the objective of documents with FIELDS.

  Loss: nats per row, the mean of those of its start and of its end.
  """
  del vocab, seq_len
  mask_of = getattr(masks, cfg.options.attention)

  def build(batch, rng):
    del rng
    if missing := [name for name in FIELDS if name not in batch]:
      raise DataError(
        f'objective.name=span_labels: the documents lack {", ".join(missing)}; set'
        ' task.name="qa", or give a data.source whose documents have the fields'
        f' {", ".join(FIELDS)} beside "tokens" (docs/extending.md).'
      )
    # The last token of a row is there for shifted targets.
    can_BT, starts_BT, ends_BT = (batch[name][:, :-1] > 0 for name in FIELDS)
    segments_BT, positions_BN = input_segments(batch), batch.get('positions')
    if segments_BT is not None:
      can_BT &= segments_BT > 0
    return Example(
      inputs_BT=batch['tokens'][:, :-1],
      targets_BT=jnp.where(can_BT, START * starts_BT + END * ends_BT, 0),
      weights_BT=can_BT.astype(jnp.float32),
      mask=mask_of(segments_BT),
      positions_BT=None if positions_BN is None else positions_BN[:, :-1],
      token_types_BT=input_token_types(batch),
    )

  def loss(forward, example):
    return span_loss(forward(*example.inputs), example)

  return Objective(
    build,
    loss,
    weight=lambda example: jnp.sum(_has_answer(example)),
    num_outputs=2,
    visibility=cfg.options.attention,
    fields=FIELDS,
    metrics=span_metrics,
    predictions=_predictions,
  )


def span_loss(outputs_BT2, example):
  """Returns the LossSums of logits; `accuracy`: both ends are the likeliest ones."""
  log_probs_BT2 = log_probabilities(outputs_BT2, example)
  is_target_BT2 = _is_target(example)
  nats_B2 = -jnp.sum(jnp.where(is_target_BT2, log_probs_BT2, 0.0), axis=1)
  # The first of equal ones, which decides nothing but untrained models.
  best_B12 = jnp.argmax(log_probs_BT2, axis=1, keepdims=True)
  is_right_B2 = jnp.take_along_axis(is_target_BT2, best_B12, axis=1)[:, 0]
  weight_B = _has_answer(example)
  nats = jnp.sum(weight_B * nats_B2.mean(axis=-1))
  return LossSums(
    objective_sum=nats,
    weight_sum=jnp.sum(weight_B),
    metric_sums=dict(loss=nats, accuracy=jnp.sum(weight_B * is_right_B2.all(axis=-1))),
  )


def log_probabilities(outputs_BT2, example):
  """Returns the log-softmax over the allowed tokens of each row, float32 [B, T, 2].

  Elsewhere it is about -3e38, a number.
  """
  is_allowed_BT1 = example.weights_BT[..., None] > 0
  low = jnp.finfo(jnp.float32).min / 2  # half: minus a log-sum it is still finite
  logits_BT2 = jnp.where(is_allowed_BT1, outputs_BT2.astype(jnp.float32), low)
  return jax.nn.log_softmax(logits_BT2, axis=1)


def _is_target(example):
  targets_BT = example.targets_BT
  return jnp.stack([targets_BT & START > 0, targets_BT & END > 0], axis=-1)


def _has_answer(example):
  """Returns 1.0 for rows with a start and an end, float32 [B]."""
  return _is_target(example).any(axis=1).all(axis=-1).astype(jnp.float32)


def _predictions(outputs_BT2, example):
  log_probs_BT2 = log_probabilities(outputs_BT2, example)
  return {'starts': log_probs_BT2[..., 0], 'ends': log_probs_BT2[..., 1]}


def span_metrics(sums) -> dict[str, float]:
  """Returns loss (nats per row), accuracy (both ends right) and the number of rows."""
  count = max(sums['targets'], 1.0)
  return dict(
    loss=sums['loss'] / count,
    accuracy=sums['accuracy'] / count,
    rows=int(sums['targets']),
  )
