"""What the device can do at best: a square matmul, and a copy through memory."""

import jax
import jax.numpy as jnp

from gpt_jax.benchmarks import timing
from gpt_jax.core.matmul import einsum

SIZES = {'cpu': (2048, 2**28)}
DEFAULT_SIZE = (8192, 2**30)
"""Side of the square matmul, and bytes of the copied array, by backend."""


def cases(dtype, size=None):
  """Returns `matmul`, by core.matmul in `dtype`, and `copy`.

  `copy` reads an array and writes it back, as the optimizer does with its state: twice
  its bytes go through memory, and no new page is allocated. `size`: as SIZES.
  """
  side, num_bytes = size or SIZES.get(jax.default_backend(), DEFAULT_SIZE)
  a, b = jnp.ones((1, side, side), dtype), jnp.ones((side, side), dtype)
  matmul, matmul_seconds, _ = timing.compiled(
    jax.jit(lambda a, b: einsum('BTD,DF->BTF', a, b)).lower(a, b)
  )
  array = jnp.zeros(num_bytes // 4, jnp.float32)
  copy, copy_seconds, _ = timing.compiled(
    jax.jit(lambda x: x + 1, donate_argnums=0).lower(array)
  )

  def copy_once():
    nonlocal array
    array = copy(array)
    return array

  return [
    timing.Case(
      'matmul',
      lambda times: timing.repeat(lambda: matmul(a, b), times),
      compile_seconds=matmul_seconds,
      flops=2 * side**3,
    ),
    timing.Case(
      'copy',
      lambda times: timing.repeat(copy_once, times),
      compile_seconds=copy_seconds,
      bytes=2 * array.nbytes,
    ),
  ]
