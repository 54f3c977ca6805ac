"""Outputs of a model's first layers: the stream after each, read as after the last."""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError
from gpt_jax.model.layers import Norm
from gpt_jax.model.output_layer import HeadTransform
from gpt_jax.model.statistics import Statistic

_NAME = 'exits'
WATCHED = (
  (
    _NAME,
    Statistic(
      reduce={'stream': lambda view: {'x_BTD': view.x_BTD}}, finish=lambda sums: {}
    ),
  ),
)
"""Makes a GPT sow the whole stream after each layer into `statistics.COLLECTION`."""


def stack(sown, cfg):
  """Returns the streams [L, B, T, D] that a GPT with WATCHED has sown."""
  names = [f'block_{i}' for i in range(len(cfg.layer_pattern))]
  if 'layers' in sown:
    parts = [sown['layers'][name][_NAME]['x_BTD'] for name in names]
    streams = jnp.stack(parts, axis=1)  # groups, then blocks of each
    return streams.reshape(cfg.num_layers, *streams.shape[2:])
  groups = [sown[f'layers_{i}'] for i in range(cfg.num_layers // len(names))]
  return jnp.stack([group[name][_NAME]['x_BTD'] for group in groups for name in names])


def read(cfg, params, x_BTD):
  """Returns what a model that ended at the stream `x_BTD` would give its output layer.

  That is the stream after the final norm and what else comes before the output layer,
  as `GPT.hidden` returns it; any axes may stand before the last two.
  """
  if cfg.norm_position != 'post':  # post-norm blocks end in a norm already
    x_BTD = Norm(cfg, cfg.norm).apply({'params': params['final_norm']}, x_BTD)
  if cfg.head == 'transform':
    x_BTD = HeadTransform(cfg).apply({'params': params['head_transform']}, x_BTD)
  return x_BTD


def check_depth(cfg, depth, field='inference.depth'):
  """Raises ConfigError unless the model can end after `depth` layers."""
  cycle = len(cfg.layer_pattern)
  if 0 < depth <= cfg.num_layers and depth % cycle == 0:
    return
  choices = ', '.join(map(str, range(cycle, cfg.num_layers + 1, cycle)))
  reason = (
    f', whole cycles of model.layer_pattern, which has {cycle}' if cycle > 1 else ''
  )
  raise ConfigError(
    f'{field}={depth}: the model has {cfg.num_layers} layers; expected one of'
    f' {choices}{reason}.'
  )


def first_layers(cfg, params, depth):
  """Returns (ModelConfig, parameters) of the model that ends after `depth` layers.

  Its other parameters, those of the last norm and the output layer among them, are
  those of `params`, which may be stacked or unrolled.
  """
  check_depth(cfg, depth)
  groups = depth // len(cfg.layer_pattern)
  kept = {
    name: tree
    for name, tree in params.items()
    if not (name.startswith('layers_') and int(name[len('layers_') :]) >= groups)
  }
  if 'layers' in kept:
    kept['layers'] = jax.tree.map(lambda leaf: leaf[:groups], kept['layers'])
  return dataclasses.replace(cfg, num_layers=depth), kept
