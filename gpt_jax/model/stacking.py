"""Parameters of scanned layers as those of unrolled ones, and back."""

import jax
import jax.numpy as jnp


def unstack(params):
  """Returns `params` with `layers` [L, ...] split into `layers_0`, `layers_1`, ..."""
  # For decoding: slicing the stack in the loop over tokens costs half its speed.
  if 'layers' not in params:
    return params
  rest = {name: tree for name, tree in params.items() if name != 'layers'}
  num_groups = jax.tree.leaves(params['layers'])[0].shape[0]
  for i in range(num_groups):
    rest[f'layers_{i}'] = jax.tree.map(lambda leaf, i=i: leaf[i], params['layers'])
  return rest


def stack(params):
  """Returns `params` with `layers_0`, `layers_1`, ... stacked as `layers` [L, ...]."""
  names = sorted(
    (name for name in params if name.startswith('layers_')),
    key=lambda name: int(name.removeprefix('layers_')),
  )
  if not names:
    return params
  rest = {name: tree for name, tree in params.items() if name not in names}
  groups = [params[name] for name in names]
  rest['layers'] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)
  return rest
