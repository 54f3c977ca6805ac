"""Arrays of unsigned 4 bits: TensorStore has signed ones alone, so they lie as these.

Bits are the same; the record of a step says which arrays are meant.
"""

import functools

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree

KEY = 'unsigned'
MEANT, SAVED = jnp.dtype(jnp.uint4), jnp.dtype(jnp.int4)


def record(items):
  """Returns what the record of a step says of its items: `{KEY: {item: [name]}}`."""
  found = {item: _names(tree) for item, tree in items.items()}
  found = {item: names for item, names in found.items() if names}
  return {KEY: found} if found else {}


def encoded(tree):
  """Returns `tree` with such arrays as they are saved, where they lie."""
  return jax.tree.map(lambda leaf: _as_saved(leaf) if _is_meant(leaf) else leaf, tree)


def targets(tree):
  """Returns ShapeDtypeStructs as `restore` takes them with those of what is saved."""

  def target(leaf):
    if not _is_meant(leaf):
      return leaf
    return jax.ShapeDtypeStruct(leaf.shape, SAVED, sharding=leaf.sharding)

  return jax.tree.map(target, tree)


def decoded(restored, wanted):
  """Returns the `restored` arrays of `targets(wanted)` as `wanted` has them."""
  if not _names(wanted):
    return restored
  return jax.tree.map(
    lambda leaf, like: _as_meant(leaf) if _is_meant(like) else leaf, restored, wanted
  )


def declared(tree, record, item):
  """Returns Orbax's metadata of an item with the dtypes that its record says."""
  names = set(record.get(KEY, {}).get(item, ()))

  def meant(name, leaf):
    return jax.ShapeDtypeStruct(leaf.shape, MEANT) if name in names else leaf

  return pytree.map_named(meant, tree) if names else tree


def _names(tree):
  return [name for name, leaf in pytree.named_leaves(tree) if _is_meant(leaf)]


def _is_meant(leaf):
  return leaf.dtype == MEANT


_bitcast = functools.partial(jax.jit, static_argnums=1)(jax.lax.bitcast_convert_type)


def _as_saved(array):
  return _bitcast(array, SAVED)


def _as_meant(array):
  return _bitcast(array, MEANT)
