"""Kernels in 8 bits, with one scale for each output.

  W ~ s c,   s = max |W| / 127 over what is summed, c whole numbers in -127 .. 127

A scale for each output keeps an outlier among its own (vector-wise quantization,
arXiv:2208.07339, section 2.1). 8 + 32/fan_in bits for a parameter. Blocks, as NF4 has
them, would cost more bits where the error is a tenth of NF4's already.
"""

import jax.numpy as jnp

from gpt_jax.quantization.kernel_format import Format, Part, exact_steps

SCALE = 'kernel_scale'
LARGEST = 127


def parts_of(linear, group):
  """Returns {name beside the kernel: Part} for a LinearMap; groups are its outputs."""
  del group
  shape = (*linear.stack, *linear.sizes(linear.kept))
  axes = (*linear.stack_axes, *linear.axes_of(linear.kept))
  return {SCALE: Part(shape, jnp.dtype(jnp.float32), axes)}


def quantize(kernel, layout, groups=0):
  """Returns (codes in the shape of the kernel, {SCALE: float32})."""
  del groups
  maxima = jnp.abs(kernel.astype(jnp.float32)).max(layout.contracted)
  return encode(kernel, exact_steps(maxima, LARGEST), layout)


def encode(kernel, scale, layout):
  """Returns (codes, {SCALE: scale}) of a kernel for given scales [stack, outputs]."""
  divisor = jnp.expand_dims(jnp.where(scale > 0, scale, 1.0), layout.contracted)
  codes = jnp.round(kernel.astype(jnp.float32) / divisor)
  return codes.astype(jnp.int8), {SCALE: scale}


def dequantize(codes, parts, layout):
  """Returns the kernel, float32."""
  scale = jnp.expand_dims(parts[SCALE], layout.contracted)
  return codes.astype(jnp.float32) * scale


FORMAT = Format(
  jnp.dtype(jnp.int8),
  lambda ndim, parts: ndim - parts[SCALE].ndim,
  parts_of,
  quantize,
  dequantize,
)
