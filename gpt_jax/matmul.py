"""Matrix products with low-precision inputs and float32 sums, backward ones included.

Autodiff of `einsum(..., preferred_element_type=float32)` multiplies float32 cotangents
with bfloat16 operands. Such mixed products miss the matrix units of every backend (on
x86 AMX they run 5-10 times slower), so the two backward products are written out here:
cotangents are rounded to the operands' type first, sums stay in float32.
"""

import jax
import jax.numpy as jnp


def einsum(equation, a, b, out_dtype=None) -> jax.Array:
  """Returns the two-operand einsum of `a` and `b`, summed in float32.

  The result has `out_dtype`, by default the dtype of `a`. Each letter of `equation` has
  to stand in two of its three terms, as in matrix products.
  """
  return _einsum(equation, a, b, out_dtype or a.dtype)


def sum_dtype(x):
  """Returns the type in which products of `x` are summed: float32, float64 for its own.

  Oracles in float64 are exact all the way through.
  """
  return jnp.promote_types(x.dtype, jnp.float32)


def product(equation, a, b, dtype) -> jax.Array:
  """Returns the einsum without a derivative: hand-written ones are made of these."""
  out = jnp.einsum(equation, a, b, preferred_element_type=sum_dtype(a))
  return out.astype(dtype)


def _forward(equation, a, b, dtype):
  # Not einsum(): a remat policy has to see the dot, not a custom_vjp call around it.
  return product(equation, a, b, dtype), (a, b)


def _backward(equation, dtype, operands, cotangent):
  a, b = operands
  terms, out = equation.split('->')
  left, right = terms.split(',')
  cotangent = cotangent.astype(a.dtype)
  return (
    product(f'{out},{right}->{left}', cotangent, b, a.dtype),
    product(f'{left},{out}->{right}', a, cotangent, b.dtype),
  )


_einsum = jax.custom_vjp(product, nondiff_argnums=(0, 3))
_einsum.defvjp(_forward, _backward)
