"""Parts of a GPT as functions of its parameters: first layers, and exits after them.

The stream after any layer is read as that after the last one is.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import Problem
from gpt_jax.model import statistics
from gpt_jax.model.layers import Norm
from gpt_jax.model.output_layer import HeadTransform
from gpt_jax.model.statistics import Statistic
from gpt_jax.quantization import packed

DRAFT_PREFIX = 'exit:'
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


def read(cfg, params, x_BTD) -> Any:
  """Returns what a model that ended at the stream `x_BTD` would give its output layer.

  That is the stream after the final norm and what else comes before the output layer,
  as `GPT.hidden` returns it; any axes may stand before the last two.
  """
  if cfg.norm_position != 'post':  # post-norm blocks end in a norm already
    x_BTD = Norm(cfg, cfg.norm).apply({'params': params['final_norm']}, x_BTD)
  if cfg.head == 'transform':
    x_BTD = HeadTransform(cfg).apply({'params': params['head_transform']}, x_BTD)
  return x_BTD


def head(cfg, params):
  """Returns the output layer [V, D] of a GPT's parameters, in full."""
  if cfg.tie_embeddings:
    return packed.Unpacked(params['embed'].items(), cfg.param_dtype)['embedding']
  return packed.Unpacked(params['head'].items(), cfg.param_dtype)['kernel'].T


def embedded(model, params, tokens_BT, positions_BT):
  """Returns the stream [B, T, D] that the first layer of a GPT reads."""
  cfg = dataclasses.replace(model.cfg, num_layers=0, scan_layers=False)
  _, sown = model.clone(cfg=cfg, watched=WATCHED).apply(
    {'params': params}, tokens_BT, positions_BT=positions_BT, method='hidden',
    mutable=[statistics.COLLECTION],
  )  # fmt: skip
  return sown[statistics.COLLECTION][_NAME]['x_BTD']


def problems(config):
  """Yields the Problems of the layers that a Config's `inference` asks for."""
  cfg, asked = config.model, config.inference
  if text := _why_no_depth(cfg, asked.depth):
    yield Problem('inference.depth', f'={asked.depth}: {text}')
    return
  cfg = shallower(config).model
  if asked.draft.startswith(DRAFT_PREFIX):
    number = asked.draft.removeprefix(DRAFT_PREFIX)
    text = 'expected exit:N, such as exit:2'
    if number.isdecimal():
      text = _why_no_depth(cfg, int(number) or cfg.num_layers + 1)
    if text:
      yield Problem('inference.draft', f'={asked.draft!r}: {text}')
  if asked.draft and asked.exit_measure != 'none':
    yield Problem(
      'inference.exit_measure',
      f'={asked.exit_measure!r} with inference.draft={asked.draft!r}: drafts are'
      ' checked by all layers; set one of them to its default',
    )


def _why_no_depth(cfg, depth):
  """Returns why a model of `cfg` cannot end after `depth` layers, '' if it can."""
  cycle = len(cfg.layer_pattern)
  if depth is None or (depth <= cfg.num_layers and depth % cycle == 0):
    return ''
  choices = ', '.join(map(str, range(cycle, cfg.num_layers + 1, cycle)))
  reason = f', whole cycles of the {cycle} of model.layer_pattern' if cycle > 1 else ''
  return f'the model has {cfg.num_layers} layers; expected {choices}{reason}'


def draft_layers(config):
  """Returns how many first layers `inference.draft` names, None if it is no exit."""
  name = config.inference.draft
  is_exit = name.startswith(DRAFT_PREFIX)
  return int(name.removeprefix(DRAFT_PREFIX)) if is_exit else None


def first_layers(cfg, params):
  """Returns those of `params` that a model of `cfg` reads, which may be shallower.

  `params` are stacked or unrolled. The last norm and the output layer stay.
  """
  groups = cfg.num_layers // len(cfg.layer_pattern)
  kept = {
    name: tree
    for name, tree in params.items()
    if not (name.startswith('layers_') and int(name[len('layers_') :]) >= groups)
  }
  if 'layers' in kept and len(jax.tree.leaves(kept['layers'])[0]) > groups:
    kept['layers'] = jax.tree.map(lambda leaf: leaf[:groups], kept['layers'])
  return kept


def shallower(config):
  """Returns a Config whose model ends after its `inference.depth` layers."""
  if config.inference.depth is None:
    return config
  model = dataclasses.replace(config.model, num_layers=config.inference.depth)
  return dataclasses.replace(config, model=model)
