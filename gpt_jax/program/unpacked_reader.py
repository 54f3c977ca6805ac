"""Checkpoints of a run whose kernels are in few bits, read as those of a plain one."""

import jax

from gpt_jax.core import pytree
from gpt_jax.program import init_from
from gpt_jax.program.converted_reader import ConvertedReader
from gpt_jax.quantization import packed, rows


class UnpackedReader(ConvertedReader):
  """What a CheckpointReader has, with each parameter in full."""

  def __init__(self, store, dtype):
    """Takes an open CheckpointReader and the dtype of kernels in full."""
    super().__init__(store)
    self._dtype = dtype

  def abstract(self, step, item, sharding=None):
    """Returns the tree of ShapeDtypeStructs of the plain model."""
    saved = self._store.abstract(step, item, sharding)
    return pytree.nested(
      {
        name: jax.ShapeDtypeStruct(
          leaf.shape, packed.dtype_in_full(leaf, self._dtype), sharding=sharding
        )
        for name, leaf in pytree.named_leaves(saved)
        if not packed.is_part(name)
      }
    )

  def restore_leaves(self, step, item, leaves):
    """Returns `{name: array}` of some parameters, placed as ShapeDtypeStructs say."""
    saved = dict(pytree.named_leaves(self._store.abstract(step, item)))
    found = {}
    for name, leaf in leaves.items():
      wanted = self._codes_and_parts(name, leaf, saved)
      arrays = self._store.restore_leaves(step, item, wanted)
      array = arrays[name]
      if packed.is_packed(saved[name]):
        array = packed.unpack(name, arrays, leaf.dtype)
      found[name] = jax.device_put(array, leaf.sharding)
    return found

  def _codes_and_parts(self, name, leaf, saved):
    """Returns {name: struct} of what is read for a parameter, parts on all devices."""
    path = name.rpartition('/')[0]
    if not packed.is_packed(saved[name]):
      return {name: leaf}
    parts = [f'{path}/{part}' for part in (*packed.KERNEL_PARTS, rows.SCALE)]
    names = [name, *(part for part in parts if part in saved)]
    everywhere = init_from.replicated(leaf.sharding)
    return {
      one: jax.ShapeDtypeStruct(
        saved[one].shape,
        saved[one].dtype,
        sharding=leaf.sharding if one == name else everywhere,
      )
      for one in names
    }
