"""Why a saved tree cannot be restored as the wanted one, array by array."""

import collections.abc

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.registry import nearest

MAX_LISTED = 40  # differences that an error lists before it counts the rest


def differences(saved, wanted, item):
  """Returns a line for each array of `item` in which two abstract trees differ.

  Leaves have `shape` and `dtype`, those of `wanted` also a `sharding`, which must
  divide them.
  """
  lines = _indivisible(wanted, item)
  saved, wanted = _specs(saved, item), _specs(wanted, item)
  only_saved = sorted(saved.keys() - wanted.keys())
  for name in sorted(wanted.keys() | saved.keys()):
    if name not in saved:
      candidates = [other for other in only_saved if saved[other] == wanted[name]]
      hint = nearest(name, candidates)
      lines.append(
        f'{name}: not saved, wanted {wanted[name]}'
        + (f' (saved as {hint}?)' if hint else '')
      )
    elif name not in wanted:
      lines.append(f'{name}: saved {saved[name]}, not wanted')
    elif saved[name] != wanted[name]:
      lines.append(f'{name}: saved {saved[name]}, wanted {wanted[name]}')
  return lines


def report(folder, lines):
  """Returns the text of an error: the `differences` of what `folder` holds."""
  rest = len(lines) - MAX_LISTED
  return '\n'.join(
    [
      f'{folder} holds other arrays than this program needs, {len(lines)} differ:',
      *(f'  {line}' for line in lines[:MAX_LISTED]),
      *([f'  ... and {rest} more'] if rest > 0 else []),
      'Use the config that it was saved with, or start in a new workdir.',
    ]
  )


def _specs(tree, item):
  """Returns `{path: 'float32[4, 8]'}` of a tree; empty containers are `nothing`."""
  leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_nothing)
  return {f'{item}/{pytree.path_name(path)}': _spec(leaf) for path, leaf in leaves}


def _is_nothing(node):
  return node is None or (
    isinstance(node, collections.abc.Mapping | tuple | list) and not len(node)
  )


def _spec(leaf):
  if _is_nothing(leaf):
    return 'nothing'
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.eval_shape(jax.random.key_data, leaf)  # a key is saved as its words
  return f'{jnp.dtype(leaf.dtype).name}{list(leaf.shape)}'


def _indivisible(tree, item):
  lines = []
  for name, leaf in pytree.named_leaves(tree):
    assert leaf.sharding is not None, f'{item}/{name}: wanted without a sharding'
    try:
      leaf.sharding.shard_shape(leaf.shape)
    except ValueError as error:
      lines.append(f'{item}/{name}: {error}')
  return lines
