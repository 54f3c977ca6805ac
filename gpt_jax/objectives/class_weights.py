"""Weights of classes in the loss: rare classes may count for more.

Loss = sum(w[y] nll) / sum(w[y]), as torch.nn.CrossEntropyLoss(weight=w). Accuracy and
metrics of predictions count each target once.
"""

import jax.numpy as jnp
import numpy as np

from gpt_jax.core.errors import ConfigError, Problem

_FIELD = 'objective.options.class_weights'


def loss_weights(options, targets_BT, weights_BT):
  """Returns the weights of targets in the loss, float32 [B, T]; None without any.

  `options` have `class_weights` and `num_labels`, which have to agree: ConfigError.
  """
  class_weights = options.class_weights
  if not class_weights:
    return None
  if text := _why_not(options):
    raise ConfigError(f'{_FIELD}{text}.')
  # A weighted mean does not see their scale. With 1 as the least of them, a batch of
  # any targets has the weight of one, below which no loss is divided.
  weight_C = np.asarray(class_weights, np.float32)
  weight_C = weight_C / weight_C[weight_C > 0].min()
  return weights_BT * jnp.asarray(weight_C)[targets_BT]


def problems(config):
  """Yields the Problems of `objective.options.class_weights` of a Config."""
  # The classes of a task are counted in its examples, later.
  text = '' if config.task.name else _why_not(config.objective.options)
  if text:
    yield Problem(_FIELD, text)


def _why_not(options):
  """Returns why there can be no such weights, '' where there can."""
  found = options.class_weights
  if found and len(found) != options.num_labels:
    return (
      f'={found}: {len(found)} numbers for objective.options.num_labels='
      f'{options.num_labels} classes; give one for each, in the order of their ids'
    )
  if found and not any(found):
    return f'={found}: expected one above 0, or () for none'
  return ''
