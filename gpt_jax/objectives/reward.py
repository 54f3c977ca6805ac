"""Learn a reward from pairs: the preferred text of two shall have the higher one.

Bradley-Terry loss -log sigmoid(r_chosen - r_rejected): InstructGPT, arXiv:2203.02155,
eq. 1, with two answers to each prompt. Both texts of a pair stand in one row and do not
see each other.
"""

import jax
import jax.numpy as jnp

from gpt_jax.core import registry
from gpt_jax.core.errors import DataError, Problem
from gpt_jax.core.sections import one_of, section
from gpt_jax.objectives import class_labels, own_loss
from gpt_jax.objectives.example import Objective
from gpt_jax.objectives.losses import LossSums
from gpt_jax.objectives.regression import as_class_labels

CHOSEN, REJECTED = 1, 2
FIELDS = ('labels', 'sides')
"""Of a row: 1 on the last token of the text that is preferred, 0 on that of the other
one, -1 elsewhere; CHOSEN or REJECTED on each token, by its text."""


@section
class Reward:
  """`objective.options` of reward: those of class_labels without classes."""

  attention: str = one_of('causal', 'bidirectional', default='causal')
  pooling: str = one_of('last', 'first', 'mean', default='last')


def problems(config):
  """Returns the Problems of a Config: no place for labels, other losses, packing."""
  found = own_loss.problems_of_texts(config)
  if not config.task.name and config.data.packing != 'pad':
    text = f'={config.data.packing!r}: a row of reward is one pair; set "pad"'
    found.append(Problem('data.packing', text))
  return found


@registry.entry(options=Reward, problems=problems)
def make(cfg, *, vocab, seq_len):
  """Returns the objective of rows with FIELDS; loss is nats per pair."""
  classes = class_labels.make(as_class_labels(cfg), vocab=vocab, seq_len=seq_len)
  outputs_of = classes.outputs
  assert outputs_of is not None

  def build(batch, rng):
    if 'sides' not in batch:
      raise DataError(
        'objective.name=reward: the documents are no pairs; set task.name="preference",'
        f' or give a data.source whose documents have the fields {", ".join(FIELDS)}'
        ' beside "tokens" (docs/extending.md).'
      )
    return classes(batch | _as_two_documents(batch), rng)

  def loss(forward, example):
    return pair_loss(outputs_of(forward, example), example)

  return Objective(
    build,
    loss,
    outputs=outputs_of,
    weight=lambda example: jnp.sum(_is_pair(example)),
    num_outputs=1,
    visibility=cfg.options.attention,
    fields=FIELDS,
    step_metrics=('loss', 'accuracy', 'margin'),
    metrics=pair_metrics,
    predictions=lambda outputs_BT1, example: {'rewards': rewards(outputs_BT1, example)},
  )


def pair_loss(outputs_BT1, example):
  """Returns the LossSums of pairs; `accuracy`: the chosen text has more reward."""
  margin_B = -jnp.diff(rewards(outputs_BT1, example), axis=-1)[:, 0]
  weight_B = _is_pair(example)
  nats = -jnp.sum(weight_B * jax.nn.log_sigmoid(margin_B))
  return LossSums(
    objective_sum=nats,
    weight_sum=jnp.sum(weight_B),
    metric_sums=dict(
      loss=nats,
      accuracy=jnp.sum(weight_B * (margin_B > 0)),
      margin=jnp.sum(weight_B * margin_B),
    ),
  )


def rewards(outputs_BT1, example):
  """Returns the rewards of the chosen and of the rejected text, float32 [B, 2]."""
  outputs_BT1 = outputs_BT1.astype(jnp.float32)
  return jnp.sum(jnp.where(_ends(example), outputs_BT1, 0.0), axis=1)


def _as_two_documents(batch):
  """Returns segments and positions under which the texts of a pair are apart."""
  sides_BN = batch['sides']
  if 'segments' in batch:
    sides_BN = jnp.where(batch['segments'] > 0, sides_BN, 0)
  place_N = jnp.arange(sides_BN.shape[1])
  is_first_BN = sides_BN == sides_BN[:, :1]  # of the text that comes first
  length_B1 = jnp.sum(is_first_BN, axis=1, keepdims=True)
  positions_BN = jnp.where(is_first_BN, place_N, place_N - length_B1)
  positions_BN = jnp.where(sides_BN > 0, positions_BN, 0)
  return dict(segments=sides_BN, positions=positions_BN.astype(jnp.int32))


def _ends(example):
  """Returns where the chosen and the rejected text of each row end, bool [B, T, 2]."""
  is_end_BT, is_chosen_BT = example.weights_BT > 0, example.targets_BT > 0
  return jnp.stack([is_end_BT & is_chosen_BT, is_end_BT & ~is_chosen_BT], axis=-1)


def _is_pair(example):
  return _ends(example).any(axis=1).all(axis=-1).astype(jnp.float32)


def pair_metrics(sums) -> dict[str, float]:
  """Returns loss (nats per pair), accuracy, the mean margin and the number of pairs."""
  count = max(sums['targets'], 1.0)
  return dict(
    loss=sums['loss'] / count,
    accuracy=sums['accuracy'] / count,
    margin=sums['margin'] / count,
    pairs=int(sums['targets']),
  )
