"""The KV cache: keys and values of tokens already read."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.config.schema import parse_layer
from gpt_jax.core import pytree
from gpt_jax.core.types import Array
from gpt_jax.parallel.sharding import activation_axes, constrain

NO_POSITION = 2**30
"""Of a place that holds no token yet: later than every query, so causal masks hide it.
"""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Place:
  """Where the new tokens of each row go; a pytree."""

  start_B: Array
  """The position of the first: how many tokens the row holds."""
  count_B: Array | None = None
  """How many are real, None: all. Others are behind them, and are not kept."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8:
  """Numbers of the last dimension as `values_GSK * scale_GS1`, within 1/254 of the
  largest of them."""

  values_GSK: Array
  scale_GS1: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
  """Keys and values of one layer; rows may be filled to different lengths.

  The token at position p lies at place p. In a ring of S places, which is all that a
  layer with a window of S tokens can see, it lies at p modulo S.
  """

  k_BGSK: Any  # an array, or Int8
  v_BGSK: Any
  is_ring: bool = dataclasses.field(default=False, metadata=dict(static=True))

  @property
  def num_places(self):
    return jax.tree.leaves(self.k_BGSK)[0].shape[2]

  def write(self, k_BGTK, v_BGTK, place):
    """Returns this cache with T new tokens at a Place, the rest unchanged.

    Padding behind the real tokens is written too where that does no harm: its place is
    that of tokens to come.
    """
    T, start_B, count_B = k_BGTK.shape[2], place.start_B, place.count_B
    place_BT = start_B[:, None] + jnp.arange(T)
    if self.is_ring:
      place_BT %= self.num_places
      count_B1 = T if count_B is None else count_B[:, None]
      # Not the same place twice: of a long chunk the last S tokens stay.
      is_kept_BT = jnp.arange(T) < count_B1
      is_kept_BT &= jnp.arange(T) >= count_B1 - self.num_places
      place_BT = jnp.where(is_kept_BT, place_BT, self.num_places)

    def update(stored, new_BGTK):
      new = _encode(new_BGTK, stored)
      return jax.tree.map(lambda old, new: _put(old, new, place_BT), stored, new)

    return dataclasses.replace(
      self,
      k_BGSK=update(self.k_BGSK, k_BGTK),
      v_BGSK=update(self.v_BGSK, v_BGTK),
    )

  def extend(self, k_BGTK, v_BGTK, place):
    """Returns (this cache after `write`, keys, values, positions of them int32 [B, S]).

    Keys and values are what the new ones can see, in their dtype or in float32 where
    the cache holds that; where the positions are None, they count from 0.
    """
    T, start_B = k_BGTK.shape[2], place.start_B
    dtype = k_BGTK.dtype
    if not isinstance(self.k_BGSK, Int8):
      dtype = jnp.promote_types(dtype, self.k_BGSK.dtype)
    cache = self.write(k_BGTK, v_BGTK, place)
    if not self.is_ring:
      return cache, *cache.read(dtype), None
    if T == 1:
      # What the new token replaced is out of its sight, no other is.
      return cache, *cache.read(dtype), cache.positions_BS(start_B + 1)
    # The first new tokens see some that the last ones replace.
    new = KVCache(_encode(k_BGTK, self.k_BGSK), _encode(v_BGTK, self.v_BGSK))
    pairs = zip(self.read(dtype), new.read(dtype), strict=True)
    k_BGSK, v_BGSK = (jnp.concatenate(pair, axis=2) for pair in pairs)
    new_BT = start_B[:, None] + jnp.arange(T)
    positions_BS = jnp.concatenate([self.positions_BS(start_B), new_BT], axis=1)
    return cache, k_BGSK, v_BGSK, positions_BS

  def read(self, dtype):
    """Returns (k_BGSK, v_BGSK) in `dtype`."""
    return _decode(self.k_BGSK, dtype), _decode(self.v_BGSK, dtype)

  def positions_BS(self, end_B):
    """Returns which position lies at each place of a ring that has read `end_B`."""
    last_B1, S = end_B[:, None] - 1, self.num_places
    position_BS = last_B1 - (last_B1 - jnp.arange(S)) % S
    return jnp.where(position_BS < 0, NO_POSITION, position_BS)

  def constrain(self, rules):
    """Returns this cache sharded by rows and heads, as ShardingRules or None say."""
    names = activation_axes('BGTK')
    return jax.tree.map(lambda leaf: constrain(rules, leaf, *names), self)


def _put(old_BGSK, new_BGTK, place_BT):
  """Returns `old_BGSK` with the new tokens at their places; from S on none."""
  if place_BT.shape == (1, 1):
    # XLA:CPU would make a slice of a lone token, and copy the cache for each that reads
    # it. A second token that goes nowhere keeps it from that.
    place_BT = jnp.pad(place_BT, ((0, 0), (0, 1)), constant_values=old_BGSK.shape[2])
    new_BGTK = jnp.repeat(new_BGTK, 2, axis=2)
  rows_B1 = jnp.arange(len(place_BT))[:, None]
  new_BTGK = new_BGTK.transpose(0, 2, 1, 3)
  return old_BGSK.at[rows_B1, :, place_BT].set(new_BTGK, mode='drop')


def _encode(x_BGTK, stored):
  """Returns `x_BGTK` in the form of `stored`, an array or Int8."""
  if not isinstance(stored, Int8):
    return x_BGTK.astype(stored.dtype)
  x_BGTK = x_BGTK.astype(jnp.float32)
  scale_BGT1 = jnp.max(jnp.abs(x_BGTK), axis=-1, keepdims=True) / 127
  values_BGTK = jnp.round(x_BGTK / jnp.where(scale_BGT1 > 0, scale_BGT1, 1))
  return Int8(values_BGTK.astype(jnp.int8), scale_BGT1)


def _decode(stored, dtype):
  if not isinstance(stored, Int8):
    return stored.astype(dtype)
  return (stored.values_GSK.astype(jnp.float32) * stored.scale_GS1).astype(dtype)


def empty_cache(cfg, batch, length, dtype=None, spare=0):
  """Returns the cache of a GPT: a KVCache for each block, and `length_B` tokens read.

  Args:
    length: tokens of a row; local layers keep their window only.
    dtype: of keys and values, such as 'int8'; None: the model's, on CPUs float32.
    spare: tokens that a row may take back after they were read. Local layers keep so
      many more than their window.
  Caches of scanned layers are stacked.
  """
  if dtype is None:
    # XLA:CPU would convert a bfloat16 cache to float32, all of it for each token.
    dtype = 'float32' if jax.default_backend() == 'cpu' else cfg.dtype
  dtype = jnp.dtype(dtype)

  def zeros(places):
    shape_BGSK = (batch, cfg.num_kv_heads, places, cfg.head_dim)
    values_BGSK = jnp.zeros(shape_BGSK, dtype)
    if dtype != jnp.int8:
      return values_BGSK
    return Int8(values_BGSK, jnp.zeros((*shape_BGSK[:3], 1), jnp.float32))

  def block(layer):
    window = parse_layer(layer)
    places = length if window is None else min(window + spare, length)
    is_ring = places < length
    return KVCache(zeros(places), zeros(places), is_ring)

  groups = [
    {f'block_{i}': block(layer) for i, layer in enumerate(cfg.layer_pattern)}
    for _ in range(cfg.num_layers // len(cfg.layer_pattern))
  ]
  if cfg.scan_layers:
    groups = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)
  return {'layers': groups, 'length_B': jnp.zeros(batch, jnp.int32)}


def bytes_of_row(cfg, length, dtype=None):
  """Returns the bytes of keys and values of one row of `length` tokens."""
  cache = jax.eval_shape(lambda: empty_cache(cfg, 1, length, dtype))
  return pytree.size_bytes(cache['layers'])
