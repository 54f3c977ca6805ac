"""Mixup of embedded texts and their classes, arXiv:1710.09412, 1905.08941.

  x = s x_i + (1 - s) x_j   loss = s CE(y_i) + (1 - s) CE(y_j)   s ~ Beta(alpha, alpha)

s is the larger of the draw and its complement (MixMatch, arXiv:1905.02249, eq. 11), as
length and attention mask are those of text i.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.objectives import losses
from gpt_jax.program.loss import outputs_of

_STREAM = 1  # of the random numbers of a step, apart from those of dropout


def draw(rng, alpha, rows):
  """Returns (share of the own text, at least 1/2; the other text of each row, [B])."""
  share_rng, partner_rng = jax.random.split(jax.random.fold_in(rng, _STREAM))
  share = jax.random.beta(share_rng, alpha, alpha)
  return jnp.maximum(share, 1 - share), jax.random.permutation(partner_rng, rows)


def make(objective, alpha, options, prepare):
  """Returns the loss function of mixed rows, `(forward, example) -> LossSums`.

  `options` are those of `losses.cross_entropy`; `prepare` makes the Forward that is
  called of a given one.
  """

  def loss(forward, example):
    share, partner_B = draw(forward.dropout_rng, alpha, len(example.inputs_BT))
    return mixed_loss(objective, prepare(forward), example, share, partner_B, options)

  return loss


def mixed_loss(objective, forward, example, share, partner_B, options):
  """Returns the LossSums where row i is mixed with `partner_B[i]` at 1 - `share`.

  `loss` among its metrics is that of both labels, `accuracy` that of the own one.
  """

  def change(x_BTD):
    mixed_BTD = share * x_BTD + (1 - share) * x_BTD[partner_B]
    return mixed_BTD.astype(x_BTD.dtype)

  outputs_BTC = outputs_of(objective, forward.with_changes(change), example)

  def score(example):
    return losses.cross_entropy(
      outputs_BTC,
      example.targets_BT,
      example.weights_BT,
      loss_weights_BT=example.loss_weights_BT,
      **options,
    )

  own, other = score(example), score(with_labels_of(example, partner_B))

  def mix(one, two):
    return share * one + (1 - share) * two

  loss = mix(own.metric_sums['loss'], other.metric_sums['loss'])
  return dataclasses.replace(
    own,
    objective_sum=mix(own.objective_sum, other.objective_sum),
    metric_sums=own.metric_sums | {'loss': loss},
  )


def with_labels_of(example, partner_B):
  """Returns `example` with the label of row `partner_B[i]` at the place of row i's.

  A row whose partner has none (a text that was cut) keeps its own.
  """
  is_labelled_BT = example.weights_BT > 0
  label_B = jnp.max(jnp.where(is_labelled_BT, example.targets_BT, -1), axis=1)
  other_B1 = label_B[partner_B][:, None]
  takes_BT = is_labelled_BT & (other_B1 >= 0)

  def of_partner(weights_BT):
    weight_B = jnp.max(jnp.where(is_labelled_BT, weights_BT, 0), axis=1)
    return jnp.where(takes_BT, weight_B[partner_B][:, None], weights_BT)

  weights_BT = example.loss_weights_BT
  return dataclasses.replace(
    example,
    targets_BT=jnp.where(takes_BT, other_B1, example.targets_BT),
    weights_BT=of_partner(example.weights_BT),
    loss_weights_BT=None if weights_BT is None else of_partner(weights_BT),
  )
