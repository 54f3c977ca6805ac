"""Whole layers removed: those that change the stream least.

ShortGPT (arXiv:2403.03853, eq. 1): block influence of a layer is 1 - the mean cosine of
the stream before and after it; the least influential go, all at once.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.compress import input_sums, storing
from gpt_jax.compress.method import Compressed
from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import between, section
from gpt_jax.model import stacking


@section
class Layers:
  """Options of drop_layers."""

  remove: int = between(1, 10_000, default=1)
  """How many layers go."""
  batches: int = between(1, 10_000, default=16)
  """Microbatches of text to calibrate with."""


@registry.entry(options=Layers)
def drop_layers(given):
  """Returns the Compressed model; ConfigError where no layer would stay."""
  storing.require_full(given, 'drop_layers')
  model, remove = given.config.model, given.options.remove
  if remove >= model.num_layers:
    raise ConfigError(
      f'--method=drop_layers:remove={remove}: the model has {model.num_layers} layers;'
      f' expected at most {model.num_layers - 1}.'
    )
  observe = given.require_data('drop_layers')
  influences = block_influences(
    observe(input_sums.block_cosines, given.options.batches), model
  )
  order = np.argsort(influences, kind='stable')
  kept = sorted(int(n) for n in order[remove:])
  params, pattern = with_layers(given.params, model, kept)
  fields = {'model.num_layers': len(kept), 'model.layer_pattern': pattern}
  notes = {
    'removed layers, from 1': [int(n) + 1 for n in sorted(order[:remove])],
    'block influences': [round(float(value), 4) for value in influences],
  }
  return Compressed(params, fields, notes)


def block_influences(sums, model):
  """Returns the block influence of each layer, float64 [layers]."""
  cycle = len(model.layer_pattern)
  found = np.empty(model.num_layers)
  for name in (name for name in sums if name.endswith(f'/{input_sums.COSINES}')):
    path = name.removesuffix(f'/{input_sums.COSINES}')
    group, block = path.split('/')[:2]
    values = input_sums.stacked(sums, path, input_sums.COSINES)
    first = 0 if group == 'layers' else int(group.removeprefix('layers_'))
    for i, (cosines, tokens) in enumerate(values):
      layer = (first + i) * cycle + int(block.removeprefix('block_'))
      found[layer] = 1 - cosines / tokens
  return found


def with_layers(params, model, kept):
  """Returns (parameters, layer_pattern) of a model with its layers `kept`, from 0."""
  is_stacked, cycle = 'layers' in params, len(model.layer_pattern)
  params = stacking.unstack(params)
  rest = {name: tree for name, tree in params.items() if not _is_group(name)}
  blocks = [params[f'layers_{n // cycle}'][f'block_{n % cycle}'] for n in kept]
  pattern = shortest_cycle([model.layer_pattern[n % cycle] for n in kept])
  for n, block in enumerate(blocks):
    group = rest.setdefault(f'layers_{n // len(pattern)}', {})
    group[f'block_{n % len(pattern)}'] = jax.tree.map(jnp.asarray, block)
  return (stacking.stack(rest) if is_stacked else rest), pattern


def shortest_cycle(kinds):
  """Returns the shortest tuple that gives the list `kinds` when it is repeated."""
  for size in range(1, len(kinds) + 1):
    if len(kinds) % size == 0 and kinds == kinds[:size] * (len(kinds) // size):
      return tuple(kinds[:size])
  raise AssertionError(kinds)


def _is_group(name):
  return name.startswith('layers_')
