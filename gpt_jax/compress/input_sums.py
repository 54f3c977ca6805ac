"""Sums over text of what layers read: the calibration of pruning.

Each function returns `weights_BT -> intercept`, as `Given.observe` takes; the sums are
float32, by the path of the module and a name here, stacked where layers are scanned.
"""

import jax
import jax.numpy as jnp

from gpt_jax.model import linear_inputs
from gpt_jax.model.gpt import Block

SQUARES, MOMENTS, COSINES = 'input_squares', 'input_moments', 'block_cosines'


def squares(linears):
  """Returns what sows SQUARES: of each input feature, the sum of squares over tokens.

  `linears`: LinearMaps. The shape is that of the features, such as [H, K].
  """
  return linear_inputs.watching(linears, {SQUARES: linear_inputs.squares})


def head_moments(linears):
  """Returns what sows MOMENTS: x^T x of each head that maps read, [H, K, K]."""
  return linear_inputs.watching(linears, {MOMENTS: linear_inputs.head_moments})


def block_cosines(weights_BT):
  """Returns an interceptor that sows COSINES: of each block [sum of cos, tokens].

  The cosine is that of the stream before and after the block.
  """

  def intercept(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if isinstance(context.module, Block) and context.method_name == '__call__':
      cosine_BT = _cosine(args[0], result[0])
      value = jnp.stack([jnp.sum(weights_BT * cosine_BT), jnp.sum(weights_BT)])
      linear_inputs.add(context.module, COSINES, value)
    return result

  return intercept


def _cosine(x_BTD, y_BTD):
  x_BTD, y_BTD = x_BTD.astype(jnp.float32), y_BTD.astype(jnp.float32)
  norms_BT = jnp.linalg.norm(x_BTD, axis=-1) * jnp.linalg.norm(y_BTD, axis=-1)
  tiny = jnp.finfo(jnp.float32).tiny
  return jnp.sum(x_BTD * y_BTD, axis=-1) / jnp.maximum(norms_BT, tiny)


def stacked(sums, path, name):
  """Returns the sums of a module as float64 [layers, ...]; one layer where unrolled."""
  value = jax.device_get(sums[f'{path}/{name}']).astype('float64')
  return value if path.startswith('layers/') else value[None]
