"""Kernels in 4 bits, with a scale for each group of weights of an output.

  W ~ s c,   s = max |W| / 7 over a group, c whole numbers in -7 .. 7

A group is of neighbours along what is summed (arXiv:2210.17323, section 4). Scales are
rounded to bfloat16: 4 + 16/64 bits for a parameter by groups of 64.
"""

import jax.numpy as jnp

from gpt_jax.quantization.kernel_format import Format, Part

SCALE = 'kernel_scale'
LARGEST = 7


def num_groups(fan_in, group):
  """Returns how many equal groups of about `group` weights there are, at least 1."""
  count = -(-fan_in // group)
  while fan_in % count:
    count += 1
  return count


def parts_of(linear, group):
  """Returns {name beside the kernel: Part} for a LinearMap."""
  kept, axes = linear.sizes(linear.kept), linear.axes_of(linear.kept)
  shape = (*linear.stack, num_groups(linear.fan_in, group), *kept)
  return {
    SCALE: Part(shape, jnp.dtype(jnp.bfloat16), (*linear.stack_axes, None, *axes))
  }


def quantize(kernel, layout, groups):
  """Returns (codes in the shape of the kernel, {SCALE: bfloat16})."""
  grouped = in_groups(kernel.astype(jnp.float32), layout, groups)
  scale = (jnp.abs(grouped).max(layout.num_stacked + 1) / LARGEST).astype(jnp.bfloat16)
  return encode(kernel, scale, layout), {SCALE: scale}


def encode(kernel, scale, layout):
  """Returns the nearest codes of a kernel for given scales [stack, groups, outputs]."""
  at = layout.num_stacked
  grouped = in_groups(kernel.astype(jnp.float32), layout, scale.shape[at])
  wide = jnp.expand_dims(scale.astype(jnp.float32), at + 1)
  codes = jnp.round(grouped / jnp.where(wide > 0, wide, 1.0))
  return jnp.clip(codes, -LARGEST, LARGEST).reshape(kernel.shape).astype(jnp.int4)


def dequantize(codes, parts, layout):
  """Returns the kernel, float32."""
  at = layout.num_stacked
  # By way of int8: XLA:CPU converts 4 bits to floats without vector instructions.
  grouped = in_groups(codes.astype(jnp.int8), layout, parts[SCALE].shape[at])
  wide = jnp.expand_dims(parts[SCALE].astype(jnp.float32), at + 1)
  return (grouped.astype(jnp.float32) * wide).reshape(codes.shape)


def in_groups(kernel, layout, count):
  """Returns `kernel` as [stack, groups, weights of a group, outputs]."""
  at, end = layout.num_stacked, layout.num_stacked + layout.num_contracted
  return kernel.reshape(*kernel.shape[:at], count, -1, *kernel.shape[end:])


FORMAT = Format(
  jnp.dtype(jnp.int4),
  lambda ndim, parts: ndim + 1 - parts[SCALE].ndim,
  parts_of,
  quantize,
  dequantize,
)
