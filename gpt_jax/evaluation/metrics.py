"""Held-out metrics of a model's outputs, beside those of the objective itself.

`eval.metrics` names entries of METRICS or plug-ins. A metric is summed on the device,
batch by batch, and finished on the host.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core import registry

CALIBRATION_BINS = 15  # as in arXiv:1706.04599
TOP = 5


@dataclasses.dataclass(frozen=True)
class Metric:
  """A metric of outputs [B, T, C] against targets [B, T] with weights [B, T]."""

  # (outputs_BTC float32, targets_BT, weights_BT) -> {name: array}, summed over batches.
  sums: Callable[..., dict[str, jax.Array]]
  # Those sums in float64 -> {name: float}.
  finish: Callable[[dict[str, np.ndarray]], dict[str, float]]


def _top5_sums(outputs_BTC, targets_BT, weights_BT):
  target_BT1 = jnp.take_along_axis(outputs_BTC, targets_BT[..., None], axis=-1)
  num_above_BT = jnp.sum(outputs_BTC > target_BT1, axis=-1)
  is_in_BT = num_above_BT < TOP
  return dict(hits=jnp.sum(weights_BT * is_in_BT), weight=jnp.sum(weights_BT))


def _top5(sums):
  return {'top5_accuracy': float(sums['hits'] / max(sums['weight'], 1.0))}


def _f1_sums(outputs_BTC, targets_BT, weights_BT):
  C = outputs_BTC.shape[-1]
  predicted_BTC = jax.nn.one_hot(jnp.argmax(outputs_BTC, axis=-1), C)
  actual_BTC = jax.nn.one_hot(targets_BT, C)

  def count(is_class_BTC):
    return jnp.einsum('BTC,BT->C', is_class_BTC, weights_BT)

  return dict(
    both=count(predicted_BTC * actual_BTC),
    predicted=count(predicted_BTC),
    actual=count(actual_BTC),
  )


def _macro_f1(sums):
  # A class without a document or prediction counts as 0, as in scikit-learn, unless it
  # has neither: then it is left out.
  seen = sums['predicted'] + sums['actual']
  f1 = 2 * sums['both'] / np.maximum(seen, 1.0)
  return {'macro_f1': float(f1[seen > 0].mean()) if (seen > 0).any() else 0.0}


def _calibration_sums(outputs_BTC, targets_BT, weights_BT):
  top_BT = jnp.argmax(outputs_BTC, axis=-1)
  confidence_BT = jnp.max(jax.nn.softmax(outputs_BTC), axis=-1)
  bin_BT = jnp.clip(
    jnp.ceil(confidence_BT * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1
  )
  is_in_BTJ = jax.nn.one_hot(bin_BT.astype(jnp.int32), CALIBRATION_BINS)

  def total(values_BT):
    return jnp.einsum('BTJ,BT->J', is_in_BTJ, weights_BT * values_BT)

  return dict(
    weight=total(jnp.ones_like(confidence_BT)),
    correct=total((top_BT == targets_BT).astype(jnp.float32)),
    confidence=total(confidence_BT),
  )


def _calibration(sums):
  gaps = np.abs(sums['correct'] - sums['confidence'])
  return {'calibration_error': float(gaps.sum() / max(sums['weight'].sum(), 1.0))}


def _position_sums(outputs_BTC, targets_BT, weights_BT):
  log_probs_BTC = jax.nn.log_softmax(outputs_BTC)
  nats_BT = -jnp.take_along_axis(log_probs_BTC, targets_BT[..., None], axis=-1)[..., 0]
  total_T = jnp.sum(nats_BT * weights_BT, axis=0)
  return dict(nats=total_T, weight=jnp.sum(weights_BT, axis=0))


def _loss_by_position(sums):
  nats, weight = sums['nats'], sums['weight']
  length = len(nats)

  def mean(first, last):  # tokens before the target, both included
    part = slice(first - 1, last)
    return float(nats[part].sum() / weight[part].sum())

  found = {}
  for power in range(length.bit_length()):
    first, last = 2**power, min(2 ** (power + 1) - 1, length)
    if weight[first - 1 : last].any():
      found[f'loss_after_{first}' + f'_to_{last}' * (last > first)] = mean(first, last)
  # Token 500 against token 50 of 512, in rows of any length.
  late, early = (max(1, round(share * length / 512)) for share in (500, 50))
  if weight[late - 1] and weight[early - 1]:
    found['icl_score'] = mean(late, late) - mean(early, early)
  return found


METRICS = {
  'top5_accuracy': Metric(_top5_sums, _top5),
  'macro_f1': Metric(_f1_sums, _macro_f1),
  'calibration_error': Metric(_calibration_sums, _calibration),
  'loss_by_position': Metric(_position_sums, _loss_by_position),
}
"""Share of targets among the five likeliest outputs; the mean over classes of F1; the
expected calibration error, arXiv:1706.04599, eq. 3; nats by the number of tokens before
the target in its row, 1, 2-3, 4-7 and so on, with the in-context learning score: loss
at token 500 minus loss at token 50 of a row of 512, in others at the same shares
(Olsson et al., arXiv:2209.11895)."""


def choose(names):
  """Returns `{name: Metric}` of the entries that `eval.metrics` lists."""
  return {name: registry.lookup(METRICS, name, 'eval.metrics') for name in names}


def sums_of(metrics, outputs_BTC, targets_BT, weights_BT):
  """Returns the sums of all `metrics`, `{'name/sum': array}`."""
  return {
    f'{name}/{key}': value
    for name, metric in metrics.items()
    for key, value in metric.sums(outputs_BTC, targets_BT, weights_BT).items()
  }


def finished(metrics, sums):
  """Returns the values of all `metrics` from what `sums_of` has summed up."""
  result = {}
  for name, metric in metrics.items():
    prefix = f'{name}/'
    own = {k.removeprefix(prefix): v for k, v in sums.items() if k.startswith(prefix)}
    result |= metric.finish(own)
  return result
