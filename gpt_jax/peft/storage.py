"""QLoRA: frozen kernels in few bits, unpacked in the layer, arXiv:2305.14314, eq. 5.

`peft.base_storage` picks the format. Codes lie in place of the kernel, in its shape,
and their scales beside it; that a kernel is stored so, its dtype says. Embeddings,
norms, biases, heads, and whatever trains are as they are.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.errors import Problem
from gpt_jax.peft import linears
from gpt_jax.quantization import packed
from gpt_jax.quantization.kernel_format import Part

FORMATS = {name: packed.FORMATS[name] for name in ('int8', 'nf4')}
"""Values of `peft.base_storage` beside 'as_is'."""


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
    found = dict(leaves)
    parts = self.structs()
    for name, dtype in self.kernels.items():
      found |= packed.pack(name, leaves[name], dtype, parts)
    return pytree.nested(found)


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
      for name, part in format.parts_of(each, 0).items()
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
