"""Kernels in 4 bits, with a scale for each group of weights of an output.

  W ~ s c,   c whole numbers in -8 .. 7, s such that the largest weight of the group is
  -8, or that times one of SHRINKS, whichever has the least squared error

So scales may be negative. A group is of neighbours along what is summed
(arXiv:2210.17323, section 4). Scales are rounded to bfloat16: 4 + 16/32 bits for a
parameter by groups of 32.
"""

import jax.numpy as jnp

from gpt_jax.quantization.kernel_format import Format, Part, num_groups

SCALE = 'kernel_scale'
LEAST, LARGEST = -8, 7
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def parts_of(linear, group):
  """Returns {name beside the kernel: Part} for a LinearMap."""
  kept, axes = linear.sizes(linear.kept), linear.axes_of(linear.kept)
  shape = (*linear.stack, num_groups(linear.fan_in, group), *kept)
  return {
    SCALE: Part(shape, jnp.dtype(jnp.bfloat16), (*linear.stack_axes, None, *axes))
  }


def quantize(kernel, layout, groups):
  """Returns (codes in the shape of the kernel, {SCALE: bfloat16})."""
  scale = best_scale(kernel, layout, groups)
  return encode(kernel, scale, layout), {SCALE: scale}


def best_scale(kernel, layout, groups, importance=None):
  """Returns the scales of a kernel, bfloat16 [stack, groups, outputs].

  `importance`: weights of the squared errors, in the shape of the kernel but for
  outputs, of which there is one; None: all are alike.
  """
  at = layout.num_stacked + 1
  grouped = in_groups(kernel.astype(jnp.float32), layout, groups)
  largest = jnp.take_along_axis(
    grouped, jnp.abs(grouped).argmax(at, keepdims=True), axis=at
  )
  scales = [(largest / LEAST * each).astype(jnp.bfloat16) for each in SHRINKS]
  weights = 1.0 if importance is None else in_groups(importance, layout, groups)
  errors = [
    (weights * jnp.square(_at_nearest(grouped, each) - grouped)).sum(at)
    for each in scales
  ]
  best = jnp.argmin(jnp.stack(errors), 0, keepdims=True)
  stacked = jnp.stack([jnp.squeeze(each, at) for each in scales])
  return jnp.take_along_axis(stacked, best, axis=0)[0]


def _at_nearest(grouped, scale):
  return _nearest(grouped, scale) * scale.astype(jnp.float32)


def _nearest(grouped, scale):
  scale = scale.astype(jnp.float32)
  codes = jnp.round(grouped / jnp.where(scale != 0, scale, 1.0))
  return jnp.clip(codes, LEAST, LARGEST)


def encode(kernel, scale, layout):
  """Returns the nearest codes of a kernel for given scales [stack, groups, outputs]."""
  at = layout.num_stacked
  grouped = in_groups(kernel.astype(jnp.float32), layout, scale.shape[at])
  codes = _nearest(grouped, jnp.expand_dims(scale, at + 1))
  return codes.reshape(kernel.shape).astype(jnp.int4)


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
