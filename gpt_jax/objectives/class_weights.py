"""Weights of classes in the loss: rare classes may count for more.

Loss = sum(w[y] nll) / sum(w[y]), as torch.nn.CrossEntropyLoss(weight=w). Accuracy and
metrics of predictions count each target once.
"""

import jax.numpy as jnp
import numpy as np

from gpt_jax.core.errors import Problem


def loss_weights(class_weights, targets_BT, weights_BT):
  """Returns the weights of targets in the loss, float32 [B, T]; None without any."""
  if not class_weights:
    return None
  # A weighted mean does not see their scale. With 1 as the least of them, a batch of
  # any targets has the weight of one, below which no loss is divided.
  weight_C = np.asarray(class_weights, np.float32)
  weight_C = weight_C / weight_C[weight_C > 0].min()
  return weights_BT * jnp.asarray(weight_C)[targets_BT]


def problems(config):
  """Yields the Problems of `objective.options.class_weights` of a Config."""
  options = config.objective.options
  found, field = options.class_weights, 'objective.options.class_weights'
  if found and len(found) != options.num_labels:
    yield Problem(
      field,
      f'={found}: {len(found)} numbers for objective.options.num_labels='
      f'{options.num_labels} classes; give one for each, in the order of their ids',
    )
  if found and not any(found):
    yield Problem(field, f'={found}: expected one above 0, or () for none')
