"""What XLA:CPU needs to multiply fast: operands in the order they lie in, all cores."""

import functools
import math

import jax
import jax.numpy as jnp

SMALLEST_MATRIX = 2**14
"""Numbers in a matrix from which on a product with one vector is spread over cores."""
PARTS = 8
ROWS = (8, 6, 4)
"""How many rows of a bfloat16 matrix are summed at a time; the first that divides. 16
of them XLA reads ten times as slowly."""
LARGE_MATRIX, LARGE_ROWS = 2**24, (12, *ROWS)
"""Numbers from which on sums of so few rows are too many for the cores' own caches."""


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


def is_swapped(equation):
  """Returns whether jnp.einsum would swap the operands of `equation`."""
  return unswapped_output(equation) != _terms(equation)[2]


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


def is_matvec(equation, x, kernel):
  """Returns whether `x` is one vector and `matvec` multiplies it with `kernel` well."""
  left, right, _ = _terms(equation)
  sizes = zip(left, x.shape, strict=True)
  rows = math.prod(size for letter, size in sizes if letter not in right)
  return (
    rows == 1
    and not is_batched(equation)
    and kernel.size >= SMALLEST_MATRIX
    and x.dtype == kernel.dtype
    and x.dtype in (jnp.float32, jnp.bfloat16)
    and _splits(equation, kernel) is not None
  )


def matvec(equation, dtype, x, kernel) -> jax.Array:
  """Returns the einsum of `equation` where `x` is one vector, summed in float32."""
  # XLA:CPU multiplies a matrix with a vector on one core, and a bfloat16 matrix by
  # writing it down in float32 first. Such a product is bound by memory: what counts is
  # to read the matrix once, with all cores (numbers: docs/performance.md).
  _, right, out = _terms(equation)
  kept = [letter for letter in right if letter in out]
  size = dict(zip(right, kernel.shape, strict=True))
  is_summed_first = right[-1] in out
  F = math.prod(size[letter] for letter in kept)
  C = kernel.size // F
  parts = _splits(equation, kernel)
  assert parts is not None
  if not is_summed_first:
    kernel_NFC = kernel.reshape(parts, F // parts, C)
    x_N1C = jnp.broadcast_to(x.reshape(1, 1, C), (parts, 1, C))
    y_F = jnp.einsum('NTC,NFC->NTF', x_N1C, kernel_NFC).reshape(F)
  elif x.dtype == jnp.float32:
    x_NC, kernel_NCF = x.reshape(parts, -1), kernel.reshape(parts, C // parts, F)
    y_F = _added_rows(jnp.einsum('NC,NCF->NF', x_NC, kernel_NCF))
  else:
    # Rows far apart: as many streams through memory, each of which goes straight on.
    x_RC = x.astype(jnp.float32).reshape(parts, -1)
    bits_RCF = read_flat(_bits(kernel), (parts, -1, F))
    rows_CF = (_floats(bits_RCF[i]) for i in range(parts))
    sum_CF = sum(x_RC[i][:, None] * row_CF for i, row_CF in enumerate(rows_CF))
    y_F = summed_rows(sum_CF)
  shape = [size[letter] if letter in kept else 1 for letter in out]
  y = y_F.reshape([size[letter] for letter in kept])
  order = sorted(range(len(kept)), key=lambda i: out.index(kept[i]))
  return y.transpose(order).reshape(shape).astype(dtype)


def _bits(kernel):
  return jax.lax.bitcast_convert_type(kernel, jnp.uint16)


def _floats(bits):
  """Returns the float32 numbers of which `bits` [...] uint16 are the upper halves."""
  # By integers: bfloat16 that is sliced before it is converted, XLA:CPU rounds again.
  return jax.lax.bitcast_convert_type(bits.astype(jnp.uint32) << 16, jnp.float32)


def read_flat(kernel, shape):
  """Returns `kernel` in another shape, which what is fused with it goes through."""
  # Left to itself XLA fuses the reshape as well: a kernel [D, H, K] is then read by its
  # three indices, without vectors, and three times as slowly.
  return jax.lax.optimization_barrier(kernel.reshape(shape))


def summed_rows(x_CF):
  """Returns the sum of the rows of a float32 matrix, [F]."""
  # By a matmul: a plain sum would be fused with what made `x_CF`, without vectors. In
  # two halves, one for each of few cores: one product of a vector stays on one core.
  C, F = x_CF.shape
  halves = 2 if C % 2 == 0 else 1
  ones_NC = jnp.ones((halves, C // halves), jnp.float32)
  return _added_rows(jnp.einsum('NC,NCF->NF', ones_NC, x_CF.reshape(halves, -1, F)))


def _added_rows(x_NF):
  """Returns the sum [F] of a few rows."""
  # Not by a reduction, which YNNPACK takes 0.6 ms for where there are two of 50257.
  return functools.reduce(jnp.add, [x_NF[i] for i in range(len(x_NF))])


def _splits(equation, kernel):
  """Returns into how many parts `matvec` divides `kernel`, None if it cannot."""
  left, right, _ = _terms(equation)
  is_summed = [letter in left for letter in right]
  front = is_summed.index(not is_summed[0]) if len(set(is_summed)) == 2 else 0
  if not front or len(set(is_summed[front:])) != 1:
    return None  # kept and summed letters alternate
  divided = math.prod(kernel.shape[:front])
  if kernel.dtype == jnp.float32:
    return PARTS if divided % PARTS == 0 else None
  if not is_summed[0]:
    return None
  choices = LARGE_ROWS if kernel.size >= LARGE_MATRIX else ROWS
  return next((rows for rows in choices if divided % rows == 0), None)


def _terms(equation):
  terms, out = equation.split('->')
  return *terms.split(','), out
