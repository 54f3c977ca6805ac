"""The KV cache: keys and values of tokens already read."""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.types import Array
from gpt_jax.parallel.sharding import activation_axes, constrain


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
  """Keys and values of one layer; rows may be filled to different lengths."""

  k_BGSK: Array
  v_BGSK: Array

  def write(self, k_BGTK, v_BGTK, start_B):
    """Returns this cache with T new tokens from `start_B` on, the rest unchanged."""

    def update(old_GSK, new_GTK, start):
      return jax.lax.dynamic_update_slice(
        old_GSK, new_GTK.astype(old_GSK.dtype), (0, start, 0)
      )

    return KVCache(
      jax.vmap(update)(self.k_BGSK, k_BGTK, start_B),
      jax.vmap(update)(self.v_BGSK, v_BGTK, start_B),
    )

  def constrain(self, rules):
    """Returns this cache sharded by rows and heads, as ShardingRules or None say."""
    names = activation_axes('BGTK')
    return KVCache(
      constrain(rules, self.k_BGSK, *names), constrain(rules, self.v_BGSK, *names)
    )


def empty_cache(cfg, batch, length):
  """Returns the cache of a GPT: a KVCache for each block, and `length_B` tokens read.

  Caches of scanned layers are stacked.
  """

  def zeros():
    shape_BGSK = (batch, cfg.num_kv_heads, length, cfg.head_dim)
    return KVCache(jnp.zeros(shape_BGSK, cfg.dtype), jnp.zeros(shape_BGSK, cfg.dtype))

  names = [f'block_{i}' for i in range(len(cfg.layer_pattern))]
  groups = [
    {name: zeros() for name in names} for _ in range(cfg.num_layers // len(names))
  ]
  if cfg.scan_layers:
    groups = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)
  return {'layers': groups, 'length_B': jnp.zeros(batch, jnp.int32)}


def bytes_of_row(cfg, length):
  """Returns the bytes of keys and values of one row of `length` tokens."""
  cache = jax.eval_shape(lambda: empty_cache(cfg, 1, length))
  return pytree.size_bytes(cache['layers'])
