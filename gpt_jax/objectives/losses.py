"""Cross-entropy as sums, so that microbatches, hosts and eval batches add up."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from gpt_jax.core.types import Array

MAX_EXPONENT = 700.0  # exp() of more overflows a float64


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossSums:
  """Weighted sums over targets, float32; divide by `weight_sum` for means."""

  # Over more than 2**24 targets, keep the total in float64 on the host: float32 stops
  # counting there.
  objective_sum: Array
  """What is minimised, a scalar."""
  weight_sum: Array
  metric_sums: dict[str, Array]
  """By name: scalars, or arrays such as counts per class."""
  metric_weight_sum: Array | None = None
  """Where targets weigh otherwise in metrics than in the loss, what metrics other than
  the loss are divided by."""


TOKEN_METRICS = ('loss', 'accuracy', 'log_z_squared')
"""The `metric_sums` of `cross_entropy`."""


def cross_entropy(
  logits_BTV,
  targets_BT,
  weights_BT,
  *,
  label_smoothing=0.0,
  z_loss=0.0,
  vocab_limit=None,
  loss_weights_BT=None,
):
  """Returns the `LossSums` of predictions against target ids, all in float32.

  Its `metric_sums` are TOKEN_METRICS: the negative log-likelihood in nats, without
  smoothing or z-loss; targets whose logit is above all others (a tie is no prediction);
  and logsumexp(logits) squared.

  Args:
    label_smoothing: eps; the target distribution is (1 - eps) onehot + eps / V.
    z_loss: weight of logsumexp(logits)^2. arXiv:2204.02311, section 5.
    vocab_limit: ids from here on only pad the embedding: they get no probability, no
      gradient and no share of the smoothing. None: all V are real.
    loss_weights_BT: in the objective and the loss, in place of `weights_BT`.
  """
  vocab_size = vocab_limit or logits_BTV.shape[-1]
  # float32: between 8 and 16, bfloat16 moves in steps of 1/16 - too coarse for a loss.
  logits_BTV = logits_BTV.astype(jnp.float32)
  id_V = jnp.arange(logits_BTV.shape[-1])
  is_real_V = id_V < vocab_size
  masked_BTV = logits_BTV
  if vocab_size < logits_BTV.shape[-1]:
    masked_BTV = jnp.where(is_real_V, logits_BTV, jnp.finfo(jnp.float32).min)
  log_z_BT = jax.nn.logsumexp(masked_BTV, axis=-1)
  # A comparison and a sum instead of a gather: it fuses, its gradient is no scatter,
  # and it partitions over a sharded vocabulary.
  is_target_BTV = id_V == targets_BT[..., None]
  target_logit_BT = jnp.sum(jnp.where(is_target_BTV, logits_BTV, 0.0), axis=-1)
  nll_BT = log_z_BT - target_logit_BT
  objective_BT = nll_BT
  if label_smoothing:
    mean_logit_BT = jnp.sum(logits_BTV, axis=-1, where=is_real_V) / vocab_size
    uniform_nll_BT = log_z_BT - mean_logit_BT
    objective_BT = (1 - label_smoothing) * nll_BT + label_smoothing * uniform_nll_BT
  z_BT = jnp.square(log_z_BT)
  if z_loss:
    objective_BT = objective_BT + z_loss * z_BT
  # Counted instead of argmax, which would read all logits once more: these sums fuse
  # with the sum of the exponentials, whose maximum is known.
  top_logit_BT = jnp.max(masked_BTV, axis=-1)
  num_top_BT = jnp.sum(
    jnp.where(masked_BTV == top_logit_BT[..., None], 1.0, 0.0), axis=-1
  )
  is_best_BT = (target_logit_BT == top_logit_BT) & (num_top_BT == 1)
  weights_BT = weights_BT.astype(jnp.float32)

  def total(values_BT):
    return jnp.sum(weights_BT * values_BT)

  metrics = zip(TOKEN_METRICS, (nll_BT, is_best_BT, z_BT), strict=True)
  sums = LossSums(
    objective_sum=total(objective_BT),
    weight_sum=jnp.sum(weights_BT),
    metric_sums={name: total(values_BT) for name, values_BT in metrics},
  )
  if loss_weights_BT is None:
    return sums
  return LossSums(
    objective_sum=jnp.sum(loss_weights_BT * objective_BT),
    weight_sum=jnp.sum(loss_weights_BT),
    metric_sums=sums.metric_sums | {'loss': jnp.sum(loss_weights_BT * nll_BT)},
    metric_weight_sum=sums.weight_sum,
  )


def token_metrics(sums):
  """Returns loss (nats per target), perplexity, accuracy and tokens of sums."""
  loss = sums['loss'] / max(sums['targets'], 1.0)
  return dict(
    loss=loss,
    perplexity=math.exp(min(loss, MAX_EXPONENT)),
    accuracy=sums['accuracy'] / max(sums['targets'], 1.0),
    tokens=int(sums['targets']),
  )
