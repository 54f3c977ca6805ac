"""Rows of a batch and blocks of its cache, moved by index; pure functions.

Every array of a `decode.DecodeState`, its cache included, begins with the batch. Layers
are unrolled.
"""

import jax
import jax.numpy as jnp

from gpt_jax.model.cache import KVCache, empty_cache


def take(tree, slot_R):
  """Returns the rows `slot_R` of a batch; an index beyond it gives its last row."""
  return jax.tree.map(lambda leaf: leaf.at[slot_R].get(mode='clip'), tree)


def put(tree, rows, slot_R):
  """Returns a batch with `rows` at `slot_R`; those with an index beyond it are lost."""
  return jax.tree.map(
    lambda leaf, row: leaf.at[slot_R].set(row, mode='drop'), tree, rows
  )


def take_cache(cache, slot_R, places):
  """Returns the first `places` of rows of a cache; of rings all."""

  def block(block):
    size = block.num_places if block.is_ring else places
    return jax.tree.map(lambda leaf: leaf.at[slot_R, :, :size].get(mode='clip'), block)

  length_R = take(cache['length_B'], slot_R)
  return {'layers': _each_block(block, cache['layers']), 'length_B': length_R}


def put_cache(cache, rows, slot_R):
  """Returns `cache` with what `take_cache` gave, now `rows`, at `slot_R`."""

  def leaf(old, new):
    return old.at[slot_R, :, : new.shape[2]].set(new, mode='drop')

  layers = _each_pair(leaf, cache['layers'], rows['layers'])
  length_B = put(cache['length_B'], rows['length_B'], slot_R)
  return cache | {'layers': layers, 'length_B': length_B}


def resize(cache, cfg, length, dtype=None, spare=0):
  """Returns `cache` with space for `length` tokens in each row, those in it unchanged.

  `dtype` and `spare` as of `empty_cache`. No row may hold more than `length`.
  """
  batch = len(cache['length_B'])
  empty = jax.eval_shape(
    lambda: empty_cache(cfg, batch, length, dtype, spare)['layers']
  )

  def leaf(new, old):
    missing = max(0, new.shape[2] - old.shape[2])
    old = jnp.pad(old, ((0, 0), (0, 0), (0, missing), (0, 0)))
    return old[:, :, : new.shape[2]]

  return cache | {'layers': _each_pair(leaf, empty, cache['layers'])}


def empty_store(cfg, num_blocks, block_tokens, dtype=None):
  """Returns a store of so many blocks of tokens: keys and values of all layers.

  Local layers keep the last tokens of a block, as many as their window.
  """
  return empty_cache(cfg, num_blocks, block_tokens, dtype)['layers']


def save_block(cache, store, slot, start, number, *, block_tokens):
  """Returns `store` with the tokens from `start` on of row `slot` as block `number`.

  They have to be the last ones that the row has read, or its local layers lack them.
  """

  def save(block, stored):
    place_S = _places(block, stored, start + block_tokens)

    def leaf(stored_NGSK, old_BGSK):
      return stored_NGSK.at[number].set(old_BGSK[slot][:, place_S])

    return _each_pair(leaf, stored, block)

  return _each_block(save, cache['layers'], store)


def load_block(cache, store, slot, start, number, *, block_tokens):
  """Returns `cache` after row `slot` has got block `number` as its tokens from `start`.

  Blocks are loaded in the order of the text; `length_B` becomes the end of this one.
  """

  def load(block, stored):
    place_S = _places(block, stored, start + block_tokens)

    def leaf(old_BGSK, stored_NGSK):
      return old_BGSK.at[slot, :, place_S].set(stored_NGSK[number].swapaxes(0, 1))

    return _each_pair(leaf, block, stored)

  length_B = cache['length_B'].at[slot].set(start + block_tokens)
  layers = _each_block(load, cache['layers'], store)
  return cache | {'layers': layers, 'length_B': length_B}


def _places(block, stored, end):
  """Returns where in a KVCache the tokens before position `end` lie that are stored."""
  position_S = end - stored.num_places + jnp.arange(stored.num_places)
  return position_S % block.num_places if block.is_ring else position_S


def _each_block(function, *trees):
  return jax.tree.map(function, *trees, is_leaf=lambda node: isinstance(node, KVCache))


def _each_pair(function, tree, other):
  """Returns `function` of the leaves of two trees, which may differ in `is_ring`."""
  leaves = map(function, jax.tree.leaves(tree), jax.tree.leaves(other))
  return jax.tree.unflatten(jax.tree.structure(tree), leaves)
