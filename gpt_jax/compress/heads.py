"""Attention heads removed: a dense model with fewer heads in each layer.

The heads whose part of the stream has the least energy on text go: the sum over tokens
of |a_h W_h|^2, a_h what head h has read and W_h its part of the output projection (the
energy of what Michel et al. mask, arXiv:1905.10650, section 2.3).
"""

import numpy as np

from gpt_jax.compress import input_sums, storing
from gpt_jax.compress.method import Compressed
from gpt_jax.compress.mlp_units import largest, taken
from gpt_jax.core import pytree, registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import between, section
from gpt_jax.model import positions
from gpt_jax.peft import linears


@section
class Heads:
  """Options of drop_heads."""

  remove: int = between(1, 2**16, default=1)
  """Heads of every layer; where several share keys, as many of each group."""
  batches: int = between(1, 10_000, default=16)
  """Microbatches of text to calibrate with."""


@registry.entry(options=Heads)
def drop_heads(given):
  """Returns the Compressed model; ConfigError for numbers of heads that cannot be.

  With a key for each head, keys go with their heads; where heads share keys, all keys
  stay.
  """
  storing.require_full(given, 'drop_heads')
  model, remove = given.config.model, given.options.remove
  check(model, remove)
  outs = linears.choose(model, 'attention/out$', 'attention')
  observe = given.require_data('drop_heads')
  sums = observe(input_sums.head_moments(outs), given.options.batches)
  leaves = dict(pytree.named_leaves(given.params))
  for linear in outs:
    energies = head_energies(linear, leaves[linear.kernel], sums)
    keep(leaves, linear, model, kept_heads(energies, model, remove))
  heads = model.num_heads - remove
  own_keys = model.num_kv_heads == model.num_heads
  fields = {
    'model.num_heads': heads,
    'model.num_kv_heads': heads if own_keys else model.num_kv_heads,
    'model.head_dim': model.head_dim,
  }
  return Compressed(
    pytree.nested(leaves), fields, {'heads': f'{model.num_heads} -> {heads}'}
  )


def check(model, remove):
  """Raises ConfigError where a model cannot lose so many heads in each layer."""
  field = f'--method=drop_heads:remove={remove}'
  if positions.has_slopes(model):
    raise ConfigError(
      f'{field}: with model.position={model.position!r} the slope of a head depends on'
      ' how many there are; use drop_units or drop_layers.'
    )
  heads, groups = model.num_heads, model.num_kv_heads
  if heads == groups:  # each head has keys of its own, which go with it
    if remove >= heads:
      raise ConfigError(f'{field}: a layer has {heads} heads; at most {heads - 1} go.')
    return
  if remove % groups or remove >= heads:
    choices = [str(n) for n in range(groups, heads, groups)]
    raise ConfigError(
      f'{field}: {heads} heads of a layer share {groups} keys, and each key keeps as'
      f' many heads; expected {" or ".join(choices)}.'
    )


def head_energies(linear, kernel, sums):
  """Returns the energy of each head, float64 [layers, H]."""
  moments_LHKJ = input_sums.stacked(sums, linear.path, input_sums.MOMENTS)
  layers = len(moments_LHKJ)
  kernel_LHKD = np.asarray(kernel, np.float64).reshape(layers, *kernel.shape[-3:])
  gram_LHKJ = np.einsum('LHKD,LHJD->LHKJ', kernel_LHKD, kernel_LHKD, optimize=True)
  return np.einsum('LHKJ,LHKJ->LH', moments_LHKJ, gram_LHKJ)


def kept_heads(energies_LH, model, remove):
  """Returns the heads that stay, [layers, heads], those of each key together."""
  layers, heads = energies_LH.shape
  if model.num_kv_heads == heads:
    return largest(energies_LH, heads - remove)
  groups = model.num_kv_heads
  size = heads // groups
  by_group = energies_LH.reshape(layers, groups, size)
  kept = largest(by_group, size - remove // groups)
  return (kept + size * np.arange(groups)[:, None]).reshape(layers, -1)


def keep(leaves, linear, model, kept):
  """Keeps the heads `kept` [layers, heads] of the attention of `linear`."""
  prefix, is_stacked = linear.path.removesuffix('/out'), bool(linear.stack)
  of_heads = ['query']
  if model.num_kv_heads == model.num_heads:
    of_heads += ['key', 'value']
  for name in of_heads:
    for leaf in ('kernel', 'bias'):
      if (path := f'{prefix}/{name}/{leaf}') in leaves:
        leaves[path] = taken(leaves[path], kept, -2, is_stacked)
  leaves[linear.kernel] = taken(leaves[linear.kernel], kept, -3, is_stacked)
