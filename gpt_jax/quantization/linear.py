"""Products with kernels in few bits: full precision outside, codes in memory.

On CPUs codes become floats in registers (`matmul_cpu.py`); elsewhere XLA fuses that
into the dot. With `int8_inputs` both operands are whole numbers of 8 bits and sums are
int32: inputs have a scale for each token, outputs one for each column (vector-wise,
arXiv:2208.07339, section 3.1).
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from gpt_jax.core import matmul
from gpt_jax.quantization import int4, int8, matmul_cpu, packed, rows
from gpt_jax.quantization.kernel_format import Layout


@dataclasses.dataclass(frozen=True)
class Product:
  """An einsum of an activation and a stored kernel."""

  equation: str  # kept letters of the kernel together, and summed ones
  param_dtype: str  # of the kernel in full
  # Inputs are rounded to 8 bits, a scale a token. For int8 kernels.
  int8_inputs: bool = False
  # Numbers of an input from here on, in magnitude, are multiplied in full; 0: none is.
  outlier_threshold: float = 0.0

  @property
  def letters(self):
    terms, out = self.equation.split('->')
    return (*terms.split(','), out)

  def kernel(self, leaves, dtype):
    """Returns the kernel of `leaves`, as `in_full`, rounded as its model rounds."""
    return in_full(leaves, self.layout).astype(self.param_dtype).astype(dtype)

  @property
  def layout(self):
    left, right, _ = self.letters
    return Layout(len(right), 0, sum(letter in left for letter in right))


def in_full(leaves, layout):
  """Returns the kernel, float32, of `{'kernel': codes, part: array}`."""
  codes = leaves['kernel']
  format = packed.BY_DTYPE[codes.dtype]
  if format.num_contracted(codes.ndim, leaves) != layout.num_contracted:
    format = int4.FORMAT  # its codes as bytes: `prepared`
  return format.dequantize(codes, leaves, layout)


def multiply(product, x, leaves, out_dtype=None):
  """Returns the einsum of a Product in the dtype of `x`, summed in float32.

  `leaves`: {'kernel': codes, part: array}, or with rows.NAME an embedding, which have
  no gradient.
  """
  return _multiply(product, jnp.dtype(out_dtype or x.dtype), x, leaves)


def _value(product, dtype, x, leaves):
  if product.int8_inputs:
    return _in_int8(product, dtype, x, leaves)
  return jax.lax.platform_dependent(
    x,
    leaves,
    cpu=functools.partial(_on_cpu, product, dtype),
    default=functools.partial(_dequantized, product, dtype),
  )


def _dequantized(product, dtype, x, leaves):
  kernel = _kernel(product, leaves, x.dtype)
  return matmul.contract(product.equation, x, kernel, dtype)


def _kernel(product, leaves, dtype):
  if rows.NAME in leaves:
    table = rows.dequantize(leaves[rows.NAME], leaves[rows.SCALE])
    return table.astype(product.param_dtype).astype(dtype)
  return product.kernel(leaves, dtype)


def _on_cpu(product, dtype, x, leaves):
  if not matmul_cpu.takes(leaves):
    return _dequantized(product, dtype, x, leaves)
  x_RC, shape = _as_rows(product, x, leaves)
  dtypes = jnp.dtype(product.param_dtype), x.dtype
  y_RF = matmul_cpu.product(x_RC.astype(jnp.float32), leaves, dtypes)
  return y_RF.reshape(shape).transpose(_order(product)).astype(dtype)


def _as_rows(product, x, leaves):
  """Returns (`x` as [rows, summed], the shape of the output with rows in front)."""
  left, right, _ = product.letters
  codes = leaves.get('kernel', leaves.get(rows.NAME))
  sizes = dict(zip(left + right, x.shape + codes.shape, strict=True))
  outer = [letter for letter in left if letter not in right]
  summed = [letter for letter in right if letter in left]
  kept = [letter for letter in right if letter not in left]
  x = x.transpose([left.index(letter) for letter in outer + summed])
  x_RC = x.reshape(-1, math.prod(sizes[letter] for letter in summed))
  return x_RC, [sizes[letter] for letter in outer + kept]


def _order(product):
  left, right, out = product.letters
  made = [letter for letter in left if letter not in right]
  made += [letter for letter in right if letter not in left]
  return [made.index(letter) for letter in out]


def _in_int8(product, dtype, x, leaves):
  x_RC, shape = _as_rows(product, x, leaves)
  y_RF = int8_product(x_RC, leaves, product.outlier_threshold)
  return y_RF.reshape(shape).transpose(_order(product)).astype(dtype)


def prepared(leaf):
  """Returns codes as decoding reads them on a CPU: a byte for each of 4 bits.

  Without vector instructions for 4 bits, XLA:CPU takes ten times as long.
  """
  if leaf.dtype == int4.FORMAT.dtype and jax.default_backend() == 'cpu':
    return leaf.astype(jnp.int8)
  return leaf


def int8_product(x_RC, leaves, threshold=0.0):
  """Returns x W of a kernel in int8, float32 [R, F], with `x` in int8 too.

  Of each token the numbers of `threshold` and more are multiplied in full
  (arXiv:2208.07339, section 3.2, where whole columns of a batch are: here what a token
  gets does not depend on the others).
  """
  x_RC = x_RC.astype(jnp.float32)
  codes_CF, scale_F = leaves['kernel'].reshape(x_RC.shape[1], -1), leaves[int8.SCALE]
  rest_RC = x_RC
  if threshold:
    rest_RC = jnp.where(jnp.abs(x_RC) >= threshold, 0.0, x_RC)
  scale_R1 = jnp.abs(rest_RC).max(1, keepdims=True) / int8.LARGEST
  whole_RC = jnp.round(rest_RC / jnp.where(scale_R1 > 0, scale_R1, 1.0))
  sums_RF = jax.lax.platform_dependent(
    whole_RC, codes_CF, cpu=matmul_cpu.whole_product, default=_int8_dot
  )
  y_RF = sums_RF.astype(jnp.float32) * scale_R1
  if threshold:
    flat = {'kernel': codes_CF}
    y_RF += jax.lax.platform_dependent(
      x_RC - rest_RC,
      flat,
      cpu=matmul_cpu.product,
      default=lambda x, leaves: x @ leaves['kernel'].astype(jnp.float32),
    )
  return y_RF * scale_F.reshape(-1)


def rounded_inputs(product, x):
  """Returns `x` as `multiply` of a Product with int8 inputs rounds it, in its dtype.

  For a kernel in full: where a mesh gathers it.
  """
  left, right, _ = product.letters
  axes = tuple(i for i, letter in enumerate(left) if letter in right)
  wide, threshold = x.astype(jnp.float32), product.outlier_threshold
  is_small = jnp.abs(wide) < threshold if threshold else True
  rest = jnp.where(is_small, wide, 0.0)
  scale = jnp.abs(rest).max(axes, keepdims=True) / int8.LARGEST
  near = jnp.round(rest / jnp.where(scale > 0, scale, 1.0)) * scale
  return jnp.where(is_small, near, wide).astype(x.dtype)


def _int8_dot(whole_RC, codes_CF):
  return jax.lax.dot_general(
    whole_RC.astype(jnp.int8),
    codes_CF,
    (((1,), (0,)), ((), ())),
    preferred_element_type=jnp.int32,
  )


def _forward(product, dtype, x, leaves):
  # One operation to `model.remat`: the kernel is made again for the backward pass.
  if product.int8_inputs:
    y = _in_int8(product, dtype, x, leaves)
  else:
    y = _dequantized(product, dtype, x, leaves)
  return y, (jnp.zeros((), x.dtype), leaves)


def _backward(product, dtype, residuals, cotangent):
  del dtype
  like, leaves = residuals
  left, right, out = product.letters
  kernel = _kernel(product, leaves, like.dtype)
  equation = f'{out},{right}->{left}'
  cotangent = cotangent.astype(like.dtype)
  return matmul.contract(equation, cotangent, kernel, like.dtype), None


_multiply = jax.custom_vjp(_value, nondiff_argnums=(0, 1))
_multiply.defvjp(_forward, _backward)
