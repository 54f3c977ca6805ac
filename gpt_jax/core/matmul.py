"""Matrix products with low-precision inputs and float32 sums, backward ones included.

Autodiff of `einsum(..., preferred_element_type=float32)` multiplies float32 cotangents
with bfloat16 operands. Such mixed products miss the matrix units of every backend (on
x86 AMX they run 5-10 times slower), so the two backward products are written out here:
cotangents are rounded to the operands' type first, sums stay in float32.
"""

import math

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
  terms, out = equation.split('->')
  made = _letters_made(equation) if a.dtype == jnp.float32 else out
  result = jnp.einsum(f'{terms}->{made}', a, b, preferred_element_type=sum_dtype(a))
  if made != out:
    result = result.transpose([made.index(letter) for letter in out])
  return result.astype(dtype)


def _letters_made(equation):
  """Returns the letters of the result in the order in which a dot makes them.

  Asked for an order that no dot makes, jnp.einsum swaps the operands. For heads
  [B, H, T, K] out of [B, T, D] and [D, H, K], XLA:CPU turns weights and tokens around
  then: a sixth of a float32 step. So float32 is never swapped, on no device. For
  bfloat16 the swap costs a CPU nothing and saves a TPU 0.7 % of a GPT-2 124M step.
  """
  terms, out = equation.split('->')
  left, right = terms.split(',')
  both = [letter for letter in left if letter in right and letter in out]
  one, other = (
    [letter for letter in term if letter in out and letter not in both]
    for term in (left, right)
  )
  swapped = ''.join(both + other + one)
  return out if swapped == out else ''.join(both + one + other)


def gradient(equation, a, b, dtype) -> jax.Array:
  """Returns `product` where it is a sum over tokens: the gradient of a weight.

  In float32, XLA:CPU would turn `a` around, so that what is summed lies innermost, and
  on that way, without vector instructions, compute the activation or norm again that
  made `a`. Given two matrices it multiplies them as they lie. (Their rows cannot stay
  cut in time, should a mesh of CPUs do that: tests do, runs do not.)
  """
  if a.dtype != jnp.float32:
    return product(equation, a, b, dtype)
  return jax.lax.platform_dependent(
    a,
    b,
    cpu=lambda a, b: _product_of_matrices(equation, a, b, dtype),
    default=lambda a, b: product(equation, a, b, dtype),
  )


def _product_of_matrices(equation, a, b, dtype):
  terms, out = equation.split('->')
  left, right = terms.split(',')
  if set(left) & set(right) & set(out):  # one product for each of a batch
    return product(equation, a, b, dtype)
  if out and out[0] in right:
    left, right, a, b = right, left, b, a
  rows, columns = ([x for x in term if x in out] for term in (left, right))
  summed = [letter for letter in left if letter not in out]
  size = dict(zip(left + right, a.shape + b.shape, strict=True))

  def matrix(term, x, kept):
    turned = x.transpose([term.index(letter) for letter in summed + kept])
    return turned.reshape([math.prod(size[x] for x in part) for part in (summed, kept)])

  result_RC = product(
    'NR,NC->RC', matrix(left, a, rows), matrix(right, b, columns), dtype
  )
  result = result_RC.reshape([size[letter] for letter in rows + columns])
  return result.transpose([(rows + columns).index(letter) for letter in out])


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
    gradient(f'{left},{out}->{right}', a, cotangent, b.dtype),
  )


_einsum = jax.custom_vjp(product, nondiff_argnums=(0, 3))
_einsum.defvjp(_forward, _backward)
