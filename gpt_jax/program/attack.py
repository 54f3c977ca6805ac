"""Evaluation under attack: how much a model loses to a small step against it.

The step is that of FGM (arXiv:1605.07725, equation 8): each text's embedded tokens move
by `eval.attack_epsilon` along the gradient of its loss. Sums are of the loss function
as it is evaluated, without dropout or regularizers.
"""

import jax

from gpt_jax.evaluation.metrics import Metric
from gpt_jax.program import adversarial

NAME = 'attack'


def sums(loss, params, example, references, epsilon):
  """Returns the sums over an Example under attack, as `evaluation.metrics.sums_of`."""
  segments_BT = example.mask.segments_BT

  def attacked(perturbation_BTD):
    return loss(params, example, None, references, None, perturbation_BTD)

  zeros_BTD = adversarial.no_perturbation(example, loss.model.cfg.d_model)
  gradient_BTD = jax.grad(lambda r: attacked(r).objective_sum)(zeros_BTD)
  found = attacked(adversarial.scaled(gradient_BTD, epsilon, segments_BT))
  count = found.metric_weight_sum
  return {
    f'{NAME}/loss': found.metric_sums['loss'],
    f'{NAME}/accuracy': found.metric_sums['accuracy'],
    f'{NAME}/weight': found.weight_sum,
    f'{NAME}/count': found.weight_sum if count is None else count,
  }


def _finish(sums):
  return {
    'attacked_loss': float(sums['loss'] / max(sums['weight'], 1.0)),
    'attacked_accuracy': float(sums['accuracy'] / max(sums['count'], 1.0)),
  }


def _no_sums(outputs_BTC, targets_BT, weights_BT):
  # They need gradients, which outputs alone do not have: `sums` makes them.
  del outputs_BTC, targets_BT, weights_BT
  return {}


METRIC = Metric(_no_sums, _finish)
"""Makes `attacked_loss`, nats per target, and `attacked_accuracy` of `sums`."""
