"""Hidden units of the MLPs removed: a dense model with a smaller d_ff.

The units whose part of the stream has the least energy on text go: sum over tokens of
|x_f|^2 |w_f|^2, x_f the unit and w_f its row of the down projection. That is Wanda's
score (arXiv:2306.11695, eq. 1), squared and added up over the unit's weights.
"""

import numpy as np

from gpt_jax.compress import input_sums, storing
from gpt_jax.compress.method import Compressed
from gpt_jax.core import pytree, registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import between, rate, section
from gpt_jax.peft import linears


@section
class Units:
  """Options of drop_units."""

  fraction: float = rate(default=0.25)
  """Of the hidden units of every MLP, rounded to whole multiples of `multiple_of`."""
  multiple_of: int = between(1, 2**20, default=1)
  """What the number that stays is a multiple of."""
  batches: int = between(1, 10_000, default=16)
  """Microbatches of text to calibrate with."""


@registry.entry(options=Units)
def drop_units(given):
  """Returns the Compressed model; ConfigError where no unit would go, or none stay."""
  storing.require_full(given, 'drop_units')
  model, options = given.config.model, given.options
  field = f'--method=drop_units:fraction={options.fraction:g}'
  if model.block == 'attention_only':
    raise ConfigError(f'{field}: model.block="attention_only" has no MLP.')
  unit = options.multiple_of
  width = round(model.d_ff * (1 - options.fraction) / unit) * unit
  if not 0 < width < model.d_ff:
    raise ConfigError(
      f'{field}: would leave {width} of the {model.d_ff} units of each MLP, in'
      f' multiples of {unit}; expected more than 0, and fewer than there are.'
    )
  found = linears.choose(model, 'mlp/', 'mlp')
  downs = [linear for linear in found if linear.path.endswith('/down')]
  sums = given.require_data('drop_units')(input_sums.squares(downs), options.batches)
  leaves = dict(pytree.named_leaves(given.params))
  for linear in downs:
    prefix = linear.path.removesuffix('/down')
    energies = unit_energies(linear, leaves[linear.kernel], sums)
    keep(leaves, prefix, largest(energies, width), bool(linear.stack))
  notes = {'units of each MLP': f'{model.d_ff} -> {width}'}
  return Compressed(pytree.nested(leaves), {'model.d_ff': width}, notes)


def unit_energies(linear, kernel, sums):
  """Returns the energy of each unit, float64 [layers, F]."""
  squares = input_sums.stacked(sums, linear.path, input_sums.SQUARES)
  kernel = np.asarray(kernel, np.float64).reshape(len(squares), linear.fan_in, -1)
  return squares * np.square(kernel).sum(-1)


def largest(values, count):
  """Returns the places of the `count` largest along the last axis, in order."""
  order = np.argsort(-values, axis=-1, kind='stable')
  return np.sort(order[..., :count], axis=-1)


def keep(leaves, prefix, kept, is_stacked):
  """Keeps the units `kept` [layers, width] of the MLP at `prefix`, in `leaves`."""
  for name, axis in (
    ('up/kernel', -1), ('gate/kernel', -1), ('down/kernel', -2), ('up/bias', -1),
    ('gate/bias', -1),
  ):  # fmt: skip
    if (path := f'{prefix}/{name}') in leaves:
      leaves[path] = taken(leaves[path], kept, axis, is_stacked)


def taken(values, kept, axis, is_stacked):
  """Returns `values` at the places `kept` [layers, n] of an axis counted from the end.

  With `is_stacked` the first axis is that of layers; else there is one.
  """
  values = np.asarray(values)
  if not is_stacked:
    return np.take(values, kept[0], axis=axis)
  layers = [np.take(one, of, axis=axis) for one, of in zip(values, kept, strict=True)]
  return np.stack(layers)
