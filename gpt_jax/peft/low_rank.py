"""Products with two factors A and B, of the shape of a linear map's kernel."""

import jax.numpy as jnp

from gpt_jax.core.matmul import einsum

LORA_A, LORA_B = 'lora_a', 'lora_b'
"""Names of the factors, beside the `kernel` that they update."""


def low_rank(letters, x, a, b):
  """Returns `x A B` by the letters of a LinearMap, in the dtype of `x`."""
  x_letters, kernel, out = letters
  rows = x_letters[0] + 'T'
  reads = ''.join(letter for letter in kernel if letter not in out)
  writes = ''.join(letter for letter in kernel if letter in out)
  inner = einsum(f'{x_letters},{reads}R->{rows}R', x, a.astype(x.dtype))
  return einsum(f'{rows}R,R{writes}->{out}', inner, b.astype(x.dtype))


def update_of(linear, a, b):
  """Returns `A B` in the shape of the kernel, with or without the axis of layers."""
  reads, writes = linear.contracted, linear.kept
  stack = 'L' if a.ndim > len(reads) + 1 else ''
  equation = f'{stack}{reads}R,{stack}R{writes}->{stack}{linear.letters[1]}'
  return jnp.einsum(equation, a, b, precision='highest')
