"""QLoRA: frozen kernels in few bits, unpacked in the layer, arXiv:2305.14314, eq. 5.

`peft.base_storage` picks the format. Codes lie in place of the kernel, in its shape,
and their scales beside it; that a kernel is stored so, its dtype says. Embeddings,
norms, biases, heads, and whatever trains are as they are.
"""

import collections.abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.errors import Problem
from gpt_jax.model.layers import Linear
from gpt_jax.parallel import sharded_matmul
from gpt_jax.peft import int8, linears, nf4
from gpt_jax.peft.kernel_format import Layout, Part

FORMATS = {'int8': int8.FORMAT, 'nf4': nf4.FORMAT}
"""Values of `peft.base_storage` beside 'as_is'."""

_BY_DTYPE = {each.dtype: each for each in FORMATS.values()}
_PARTS = {int8.SCALE, nf4.SCALE, nf4.STEP}


@dataclasses.dataclass(frozen=True)
class Storage:
  """Which kernels of a model are stored, and how."""

  dtype: Any  # of the kernels in full: model.param_dtype
  kernels: dict[str, Any]  # name -> dtype of its codes
  parts: dict[str, Part]  # by name, such as '.../kernel_scale'

  def __contains__(self, name):
    return name in self.kernels or name in self.parts

  def structs(self):
    """Returns {name: ShapeDtypeStruct} of the parts."""
    return {
      name: jax.ShapeDtypeStruct(part.shape, part.dtype)
      for name, part in self.parts.items()
    }

  def axes(self, rules):
    """Returns {name: logical axes} of the parts on a mesh; None where no shard fits."""
    return {
      name: tuple(
        axis if axis is None or size % rules.num_shards(axis) == 0 else None
        for size, axis in zip(part.shape, part.axes, strict=True)
      )
      for name, part in self.parts.items()
    }

  def pack(self, params):
    """Returns the parameters of a whole model with its kernels stored."""
    leaves = dict(pytree.named_leaves(params))
    packed = dict(leaves)
    parts = self.structs()
    for name, dtype in self.kernels.items():
      packed |= pack(name, leaves[name], dtype, parts)
    return pytree.nested(packed)


def make_storage(config, is_frozen):
  """Returns the Storage of a Config, None for 'as_is'; `is_frozen` tells by name."""
  if config.peft.base_storage == 'as_is':
    return None
  format = FORMATS[config.peft.base_storage]
  found = [each for each in linears.find(config.model) if is_frozen(each.kernel)]
  return Storage(
    dtype=jnp.dtype(config.model.param_dtype),
    kernels={each.kernel: format.dtype for each in found},
    parts={
      f'{each.path}/{name}': part
      for each in found
      for name, part in format.parts_of(each).items()
    },
  )


def problems(config):
  """Yields the Problem of a base that is stored in few bits and would train."""
  if config.peft.base_storage != 'as_is' and not config.peft.name:
    text = (
      f'={config.peft.base_storage!r}: kernels in few bits do not train; pick what does'
      " beside them by peft.name, such as 'lora', or set 'as_is'"
    )
    yield Problem('peft.base_storage', text)


def structs_in_full(params, dtype):
  """Returns a tree of ShapeDtypeStructs, each kernel of `dtype` and without parts."""
  return pytree.nested(
    {
      name: jax.ShapeDtypeStruct(leaf.shape, dtype_in_full(leaf, dtype))
      for name, leaf in pytree.named_leaves(params)
      if not is_part(name)
    }
  )


def is_packed(leaf):
  """Returns whether an array, or its ShapeDtypeStruct, is the codes of a kernel."""
  return leaf.dtype in _BY_DTYPE


def is_part(name):
  """Returns whether the parameter `name` only says what codes beside it mean."""
  return name.rpartition('/')[2] in _PARTS


def pack(name, kernel, dtype, leaves):
  """Returns {name: array} of the codes of a kernel and its parts.

  `leaves`: the parts by name, of which only the shapes matter.
  """
  format = _BY_DTYPE[jnp.dtype(dtype)]
  path = name.rpartition('/')[0]
  like = leaves[f'{path}/{format.per_output}']
  codes, parts = _pack(kernel, jnp.dtype(dtype), _layout(name, kernel, like))
  return {name: codes} | {f'{path}/{part}': array for part, array in parts.items()}


def unpack(name, leaves, dtype):
  """Returns the kernel `name` in full, of `leaves` with its codes and parts by name."""
  codes = leaves[name]
  format, path = _BY_DTYPE[codes.dtype], name.rpartition('/')[0]
  parts = {
    part: leaves[f'{path}/{part}'] for part in _PARTS if f'{path}/{part}' in leaves
  }
  return _unpack(codes, parts, _layout(name, codes, parts[format.per_output]), dtype)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _pack(kernel, dtype, layout):
  return _BY_DTYPE[dtype].quantize(kernel, layout)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _unpack(codes, parts, layout, dtype):
  return _BY_DTYPE[codes.dtype].dequantize(codes, parts, layout).astype(dtype)


def _layout(name, kernel, per_output):
  stacked = int(name.startswith('layers/'))
  return Layout(kernel.ndim, stacked, kernel.ndim - per_output.ndim)


class Unpacked(collections.abc.Mapping):
  """Parameters by name with each kernel in full, made when it is asked for."""

  def __init__(self, leaves, dtype):
    self._leaves, self._dtype = dict(leaves), jnp.dtype(dtype)

  def __getitem__(self, name):
    leaf = self._leaves[name]
    return unpack(name, self._leaves, self._dtype) if is_packed(leaf) else leaf

  def __iter__(self):
    return (name for name in self._leaves if not is_part(name))

  def __len__(self):
    return sum(1 for _ in self)


def dtype_in_full(leaf, dtype):
  """Returns the dtype of an array, `dtype` where it is the codes of a kernel."""
  return jnp.dtype(dtype) if is_packed(leaf) else leaf.dtype


def in_full(leaf, dtype):
  """Returns the ShapeDtypeStruct of the kernel of which `leaf` has the codes."""
  return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=leaf.sharding)


def unpack_kernel(call, args, kwargs, context):
  """Gives matmuls the unpacked kernel, as `flax.linen.intercept_methods` takes it.

  What they would gather, in 16 bits or more, is gathered in codes.
  """
  module, method = context.module, context.method_name
  is_hook = isinstance(module, Linear) and method in ('matmul_kernel', 'matmul_spec')
  if not is_hook or not is_packed(module.kernel):
    return call(*args, **kwargs)
  spec = sharded_matmul.gathered(module.rules, module.spec)
  if method == 'matmul_spec':
    return spec or call(*args, **kwargs)
  leaves = {'kernel': module.kernel} | {
    part: module.get_variable('params', part)
    for part in _PARTS
    if module.has_variable('params', part)
  }
  format = _BY_DTYPE[module.kernel.dtype]
  layout = _layout('kernel', module.kernel, leaves[format.per_output])

  def in_full(leaves):
    if spec:
      leaves = _gathered(module.rules, spec, leaves)
    kernel = format.dequantize(leaves['kernel'], leaves, layout)
    # As the plain model with these kernels would round them.
    return kernel.astype(module.cfg.param_dtype).astype(module.cfg.dtype)

  # One operation to `model.remat`: the kernel is made again for the backward pass.
  frozen = jax.custom_vjp(in_full)
  frozen.defvjp(lambda leaves: (in_full(leaves), None), lambda _, d: (None,))
  return frozen(leaves)


def _gathered(rules, spec, leaves):
  """Returns codes and parts of a kernel as a MatmulSpec wants it; blocks are whole."""
  _, letters, out = spec.letters
  axes = dict(zip(letters, spec.kernel_axes, strict=True))
  kept = [axes[letter] for letter in letters if letter in out]

  def placed(name, leaf):
    if name == 'kernel':
      return rules.constrain(leaf, *spec.kernel_axes)
    # Else XLA computes the kernel where its scales lie, and gathers that.
    return rules.constrain(leaf, *[None] * (leaf.ndim - len(kept)), *kept)

  return {name: placed(name, leaf) for name, leaf in leaves.items()}
