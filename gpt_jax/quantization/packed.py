"""Parameters in few bits among others: codes in place of a kernel, scales beside it.

That an array is stored so, its dtype says; what its codes mean, the parts beside it.
"""

import collections.abc
import dataclasses
import functools

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.quantization import int4, int8, nf4, rows
from gpt_jax.quantization.kernel_format import Layout

FORMATS = {'int8': int8.FORMAT, 'int4': int4.FORMAT, 'nf4': nf4.FORMAT}
"""Name of a format -> what it is; int8 is that of embeddings, too."""

GROUP = 32
"""The model.quantization_group of configs/base.py: of models that have no groups."""

BY_DTYPE = {each.dtype: each for each in FORMATS.values()}
KERNEL_PARTS = (int8.SCALE, nf4.STEP)
"""Names of what may stand beside a kernel; of each format some."""

_PARTS = {*KERNEL_PARTS, rows.SCALE}


def in_full_model(cfg):
  """Returns a ModelConfig as of the same model with each parameter in full."""
  return dataclasses.replace(
    cfg,
    quantization='none',
    quantization_group=GROUP,
    quantized_embedding=False,
    quantized_activations=False,
    outlier_threshold=0.0,
    fake_quantization='none',
  )


def is_packed(leaf):
  """Returns whether an array, or its ShapeDtypeStruct, is codes."""
  return leaf.dtype in BY_DTYPE


def is_part(name):
  """Returns whether the parameter `name` only says what codes beside it mean."""
  return name.rpartition('/')[2] in _PARTS


def pack(name, array, dtype, leaves):
  """Returns {name: array} of the codes of a parameter and its parts.

  `leaves`: the parts by name, of which only the shapes matter.
  """
  path, _, last = name.rpartition('/')
  if last == rows.NAME:
    return pack_embedding(name, array)
  parts = {p: leaves[f'{path}/{p}'] for p in KERNEL_PARTS if f'{path}/{p}' in leaves}
  codes = jax.ShapeDtypeStruct(array.shape, jnp.dtype(dtype))
  layout = layout_of(name, codes, parts)
  is_grouped = codes.dtype == int4.FORMAT.dtype
  groups = parts[int4.SCALE].shape[layout.num_stacked] if is_grouped else 0
  return pack_kernel(name, array, dtype, layout, groups)


def pack_kernel(name, kernel, dtype, layout, groups=0):
  """Returns {name: array} of the codes of a kernel and its parts."""
  path = name.rpartition('/')[0]
  codes, parts = _pack(kernel, jnp.dtype(dtype), layout, groups)
  return {name: codes} | {f'{path}/{part}': array for part, array in parts.items()}


def pack_embedding(name, table_VD):
  """Returns {name: array} of the codes of an embedding and its scales."""
  path = name.rpartition('/')[0]
  codes_VD, scale_VG = jax.jit(rows.quantize)(table_VD)
  return {name: codes_VD, f'{path}/{rows.SCALE}': scale_VG}


def unpack(name, leaves, dtype):
  """Returns the parameter `name` in full, of `leaves` with its codes and parts."""
  codes, path = leaves[name], name.rpartition('/')[0]
  if name.rpartition('/')[2] == rows.NAME:
    return jax.jit(rows.dequantize)(codes, leaves[f'{path}/{rows.SCALE}']).astype(dtype)
  parts = {p: leaves[f'{path}/{p}'] for p in KERNEL_PARTS if f'{path}/{p}' in leaves}
  return _unpack(codes, parts, layout_of(name, codes, parts), dtype)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _pack(kernel, dtype, layout, groups):
  return BY_DTYPE[dtype].quantize(kernel, layout, groups)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _unpack(codes, parts, layout, dtype):
  return BY_DTYPE[codes.dtype].dequantize(codes, parts, layout).astype(dtype)


def layout_of(name, codes, parts):
  """Returns the Layout of the kernel `name`, of its codes and parts or their shapes."""
  count = BY_DTYPE[codes.dtype].num_contracted(codes.ndim, parts)
  return Layout(codes.ndim, int(name.startswith('layers/')), count)


class Unpacked(collections.abc.Mapping):
  """Parameters by name, each in full, made when it is asked for."""

  def __init__(self, leaves, dtype):
    self._leaves, self._dtype = dict(leaves), jnp.dtype(dtype)

  def __getitem__(self, name):
    leaf = self._leaves[name]
    return unpack(name, self._leaves, self._dtype) if is_packed(leaf) else leaf

  def __iter__(self):
    return (name for name in self._leaves if not is_part(name))

  def __len__(self):
    return sum(1 for _ in self)


def unpacked(params, dtype):
  """Returns the tree `params` with each parameter in full."""
  return pytree.nested(dict(Unpacked(pytree.named_leaves(params), dtype)))


def structs_in_full(params, dtype):
  """Returns a tree of ShapeDtypeStructs, codes as of `dtype`, and without parts."""
  return pytree.nested(
    {
      name: jax.ShapeDtypeStruct(leaf.shape, dtype_in_full(leaf, dtype))
      for name, leaf in pytree.named_leaves(params)
      if not is_part(name)
    }
  )


def dtype_in_full(leaf, dtype):
  """Returns the dtype of an array, `dtype` where it is codes."""
  return jnp.dtype(dtype) if is_packed(leaf) else leaf.dtype


def in_full(leaf, dtype):
  """Returns the ShapeDtypeStruct of the parameter of which `leaf` has the codes."""
  return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=leaf.sharding)
