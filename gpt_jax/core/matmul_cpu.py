"""What XLA:CPU needs to multiply float32 fast: operands in the order they lie in."""

import math

import jax.numpy as jnp


def unswapped_output(equation):
  """Returns the output letters of `equation` in the order in which a dot makes them."""
  # Asked for another order, jnp.einsum swaps the operands. For heads [B, H, T, K] out
  # of [B, T, D] and [D, H, K] XLA:CPU then transposes weights and tokens, which takes a
  # sixth of a float32 step.
  left, right, out = _terms(equation)
  batch = [letter for letter in left if letter in right and letter in out]
  rows, columns = (
    [letter for letter in term if letter in out and letter not in batch]
    for term in (left, right)
  )
  swapped = ''.join(batch + columns + rows)
  return out if swapped == out else ''.join(batch + rows + columns)


def is_batched(equation):
  """Returns whether a letter of `equation` is in all three terms."""
  left, right, out = _terms(equation)
  return bool(set(left) & set(right) & set(out))


def weight_gradient(equation, dtype, a, b):
  """Returns the einsum of `equation`, computed as a matmul of two matrices."""
  # Given more than two dimensions, XLA:CPU would transpose `a` to put the summed
  # dimension innermost and, fused into that, without vector instructions, recompute the
  # activation or norm that made `a`. (Rows that are sharded in time on a mesh of CPUs
  # are gathered for it: tests have such meshes, runs do not.)
  left, right, out = _terms(equation)
  if out and out[0] in right:
    left, right, a, b = right, left, b, a
  rows, columns = ([x for x in term if x in out] for term in (left, right))
  summed = [letter for letter in left if letter not in out]
  size = dict(zip(left + right, a.shape + b.shape, strict=True))

  def matrix(term, x, kept):
    x = x.transpose([term.index(letter) for letter in summed + kept])
    return x.reshape([math.prod(size[x] for x in part) for part in (summed, kept)])

  result_RC = jnp.einsum(
    'NR,NC->RC',
    matrix(left, a, rows),
    matrix(right, b, columns),
    preferred_element_type=jnp.float32,
  ).astype(dtype)
  result = result_RC.reshape([size[letter] for letter in rows + columns])
  return result.transpose([(rows + columns).index(letter) for letter in out])


def _terms(equation):
  terms, out = equation.split('->')
  return *terms.split(','), out
