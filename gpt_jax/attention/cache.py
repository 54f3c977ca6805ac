"""The keys and values of tokens already read, so that each new one costs one row."""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
  """One layer's memory; rows may be filled to different lengths."""

  k_BGSK: Array
  v_BGSK: Array

  def write(self, k_BGTK, v_BGTK, start_B):
    """Returns this cache with T new rows from `start_B` on, the rest unchanged."""

    def put(old_GSK, new_GTK, start):
      return jax.lax.dynamic_update_slice(
        old_GSK, new_GTK.astype(old_GSK.dtype), (0, start, 0)
      )

    return KVCache(
      jax.vmap(put)(self.k_BGSK, k_BGTK, start_B),
      jax.vmap(put)(self.v_BGSK, v_BGTK, start_B),
    )


def empty(batch, num_kv_heads, length, head_dim, dtype):
  """Returns a KVCache of zeros for `length` tokens a row."""
  shape_BGSK = (batch, num_kv_heads, length, head_dim)
  return KVCache(jnp.zeros(shape_BGSK, dtype), jnp.zeros(shape_BGSK, dtype))
