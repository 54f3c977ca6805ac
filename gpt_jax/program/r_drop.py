"""R-Drop: two dropout passes are to agree, arXiv:2106.14448, equations 1 to 4.

  loss = mean of both cross-entropies + alpha (KL(p || q) + KL(q || p)) / 2

The paper adds up the cross-entropies, so its alpha is twice this one.
"""

import jax
import jax.numpy as jnp

from gpt_jax.objectives import losses
from gpt_jax.objectives.losses import LossSums
from gpt_jax.program.loss import outputs_of

METRIC = 'r_drop_divergence'


def make(objective, weight, options, prepare):
  """Returns the loss function of two passes, `(forward, example) -> LossSums`.

  `options` are those of `losses.cross_entropy`; `prepare` makes the Forward that is
  called of a given one. The divergence, without its weight, is a metric.
  """

  def loss(forward, example):
    passes = [forward.with_dropout(rng) for rng in two_keys(forward.dropout_rng)]
    one_BTC, other_BTC = (
      outputs_of(objective, prepare(one), example) for one in passes
    )
    forward.add_auxiliary_loss(sum(one.auxiliary_loss for one in passes) / 2)
    return agreeing_loss(one_BTC, other_BTC, example, weight, options)

  return loss


def two_keys(rng):
  """Returns the keys of the dropout of both passes."""
  return tuple(jax.random.split(rng))


def agreeing_loss(one_BTC, other_BTC, example, weight, options):
  """Returns the LossSums of the outputs [B, T, C] of two passes."""
  sums = [
    losses.cross_entropy(
      outputs_BTC,
      example.targets_BT,
      example.weights_BT,
      loss_weights_BT=example.loss_weights_BT,
      **options,
    )
    for outputs_BTC in (one_BTC, other_BTC)
  ]
  mean: LossSums = jax.tree.map(lambda a, b: (a + b) / 2, *sums)
  weights_BT = example.loss_weights_BT
  if weights_BT is None:
    weights_BT = example.weights_BT
  divergence_BT = symmetric_divergence(one_BTC, other_BTC, options.get('vocab_limit'))
  divergence = jnp.sum(weights_BT * divergence_BT)
  return LossSums(
    objective_sum=mean.objective_sum + weight * divergence,
    weight_sum=mean.weight_sum,
    metric_sums=mean.metric_sums | {METRIC: divergence},
    metric_weight_sum=mean.metric_weight_sum,
  )


def symmetric_divergence(one_BTC, other_BTC, limit=None):
  """Returns (KL(p || q) + KL(q || p)) / 2 of two sets of logits, nats, float32 [B, T].

  Logits from `limit` on have no probability; None: all have some.
  """
  is_real_C = jnp.arange(one_BTC.shape[-1]) < (limit or one_BTC.shape[-1])

  def log_probs(logits_BTC):
    logits_BTC = logits_BTC.astype(jnp.float32)
    log_z_BT1 = jax.nn.logsumexp(logits_BTC, axis=-1, where=is_real_C, keepdims=True)
    return logits_BTC - log_z_BT1

  p_BTC, q_BTC = log_probs(one_BTC), log_probs(other_BTC)
  terms_BTC = (jnp.exp(p_BTC) - jnp.exp(q_BTC)) * (p_BTC - q_BTC)
  return 0.5 * jnp.sum(terms_BTC, axis=-1, where=is_real_C)
