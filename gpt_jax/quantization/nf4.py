"""NF4: kernels in 4 bits, quantiles of the normal distribution, arXiv:2305.14314.

  W ~ a q[c]   with 16 levels q in [-1, 1] and a = max |W| over a block of 64

Blocks lie along what is summed. The maxima of blocks are in 8 bits of the largest one
of their output, which is in float32 (double quantization, section 3): 4 + 8/64 +
32/fan_in bits for a parameter, 4.13 at a width of 4096. The paper groups 256 maxima in
place of those of one output (4.127); outputs are what a mesh shards.
"""

import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.quantization.kernel_format import Format, Part, exact_steps

BLOCK = 64
SCALE, STEP = 'kernel_scale', 'kernel_scale_step'
LARGEST = 255
# A block whose maximum is below 4/255 of the largest takes 4/255. So the weight that is
# the maximum has a level of 1 or -1 in all others (3.5/4 rounds to 1, 2.5/3 does not),
# and what was stored once is stored again without a change.
LEAST = 4


def levels():
  """Returns the 16 levels, ascending float64: appendix E and section 3.

  Quantiles of N(0, 1), 8 of them up to 0 and 9 from 0 on, at even steps of probability
  from d and to 1 - d, d = (1/32 + 1/30)/2, over the largest.
  """
  tail = (1 / 32 + 1 / 30) / 2
  quantile = NormalDist().inv_cdf
  below = [quantile(p) for p in np.linspace(tail, 0.5, 8)[:-1]]
  above = [-quantile(p) for p in np.linspace(tail, 0.5, 9)[:-1]]
  found = np.array(below + [0.0] + above[::-1])
  return found / found[-1]


LEVELS = levels()


def parts_of(linear, group):
  """Returns {name beside the kernel: Part} for a LinearMap; blocks are of 64."""
  del group
  kept, axes = linear.sizes(linear.kept), linear.axes_of(linear.kept)
  first = linear.axes_of(linear.contracted)[0]
  blocks = -(-linear.fan_in // BLOCK)
  return {
    SCALE: Part(
      (*linear.stack, blocks, *kept),
      jnp.dtype(jnp.uint8),
      (*linear.stack_axes, first, *axes),
    ),
    STEP: Part(
      (*linear.stack, *kept), jnp.dtype(jnp.float32), (*linear.stack_axes, *axes)
    ),
  }


def quantize(kernel, layout, groups=0):
  """Returns (codes in the shape of the kernel, {SCALE: uint8, STEP: float32})."""
  del groups
  kernel = kernel.astype(jnp.float32)
  at = layout.num_stacked
  maxima = jnp.abs(_in_blocks(kernel, layout)).max(at + 1)
  step = exact_steps(maxima.max(at), LARGEST)
  steps = maxima / jnp.expand_dims(jnp.where(step > 0, step, 1.0), at)
  scale = jnp.clip(jnp.round(steps), LEAST, LARGEST).astype(jnp.uint8)
  parts = {SCALE: scale, STEP: step}
  divisor = _scale_of_weights(parts, kernel.shape, layout)
  relative = kernel / jnp.where(divisor > 0, divisor, 1.0)
  middles = ((LEVELS[1:] + LEVELS[:-1]) / 2).tolist()
  start = jnp.zeros(kernel.shape, jnp.uint8)
  codes = sum(((relative > each).astype(jnp.uint8) for each in middles), start)
  return codes.astype(jnp.uint4), parts


def dequantize(codes, parts, layout):
  """Returns the kernel, float32."""
  return _level(codes) * _scale_of_weights(parts, codes.shape, layout)


def _level(codes):
  """Returns the levels of `codes`, float32."""
  codes = codes.astype(jnp.uint8)
  return jax.lax.platform_dependent(codes, cpu=_looked_up, default=_selected)


def _looked_up(codes):
  # Of selections XLA:CPU keeps 16 constants in the shape of the kernel for all layers.
  table = jnp.asarray(LEVELS, jnp.float32)
  return table.at[codes.astype(jnp.int32)].get(mode='promise_in_bounds')


def _selected(codes):
  # By bits, from the lowest: 15 selections are fused into whoever reads the kernel,
  # which XLA:TPU does not do with a gather.
  found = [jnp.float32(level) for level in LEVELS]
  for bit in range(4):
    is_set = (codes >> bit) & 1 == 1
    found = [
      jnp.where(is_set, high, low)
      for low, high in zip(found[::2], found[1::2], strict=True)
    ]
  return found[0]


def _in_blocks(kernel, layout):
  """Returns `kernel` as [stack, blocks, 64, outputs], the last block with zeros."""
  stack, kept = _outer_shapes(kernel.shape, layout)
  rows = kernel.reshape(*stack, -1, *kept)
  short = -rows.shape[len(stack)] % BLOCK
  widths = [(0, short if i == len(stack) else 0) for i in range(rows.ndim)]
  return jnp.pad(rows, widths).reshape(*stack, -1, BLOCK, *kept)


def _scale_of_weights(parts, shape, layout):
  """Returns the maximum of the block of each weight, float32 in the kernel's shape."""
  at = layout.num_stacked
  stack, kept = _outer_shapes(shape, layout)
  scale = parts[SCALE].astype(jnp.float32) * jnp.expand_dims(parts[STEP], at)
  rows = math.prod(shape[axis] for axis in layout.contracted)
  blocks = scale.shape[at]
  scale = jnp.broadcast_to(
    jnp.expand_dims(scale, at + 1), (*stack, blocks, BLOCK, *kept)
  )
  scale = scale.reshape(*stack, blocks * BLOCK, *kept)
  if rows < blocks * BLOCK:
    scale = scale[(slice(None),) * at + (slice(rows),)]
  return scale.reshape(shape)


def _outer_shapes(shape, layout):
  """Returns the sizes of the stack and of the outputs."""
  end = layout.num_stacked + layout.num_contracted
  return shape[: layout.num_stacked], shape[end:]


FORMAT = Format(
  jnp.dtype(jnp.uint4),
  lambda ndim, parts: ndim - parts[STEP].ndim,
  parts_of,
  quantize,
  dequantize,
)
