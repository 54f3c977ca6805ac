"""What the device can do at best: a matrix product and a walk through memory."""

import jax
import jax.numpy as jnp

from gpt_jax.benchmarks import timing
from gpt_jax.core.matmul import einsum

SIZES = {'cpu': (2048, 2**28)}
DEFAULT_SIZE = (8192, 2**30)
"""Rows of the square product, and bytes of the array, by backend."""


def cases(dtype, size=None):
  """Returns `matmul`, the product of gpt_jax.matmul in `dtype`, and `copy`.

  `copy` reads an array and writes it back, as the optimizer does with its state: twice
  its bytes go through memory, and no new page is asked for. `size` is (rows of the
  product, bytes of the array); None: by backend.
  """
  side, num_bytes = size or SIZES.get(jax.default_backend(), DEFAULT_SIZE)
  a, b = jnp.ones((1, side, side), dtype), jnp.ones((side, side), dtype)
  multiply, multiply_seconds, _ = timing.compiled(
    jax.jit(lambda a, b: einsum('BTD,DF->BTF', a, b)).lower(a, b)
  )
  held = jnp.zeros(num_bytes // 4, jnp.float32)
  walk, walk_seconds, _ = timing.compiled(
    jax.jit(lambda x: x + 1, donate_argnums=0).lower(held)
  )

  def walk_once():
    nonlocal held
    held = walk(held)
    return held

  return [
    timing.Case(
      'matmul',
      lambda times: timing.repeat(lambda: multiply(a, b), times),
      compile_seconds=multiply_seconds,
      flops=2 * side**3,
    ),
    timing.Case(
      'copy',
      lambda times: timing.repeat(walk_once, times),
      compile_seconds=walk_seconds,
      bytes=2 * held.nbytes,
    ),
  ]
