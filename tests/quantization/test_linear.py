"""Products with stored kernels are those with the kernels in full."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.quantization import int8, linear, packed, rows
from gpt_jax.quantization.kernel_format import Layout

EQUATIONS = {
  'BTD,DF->BTF': (96, 24),
  'BTD,DHK->BHTK': (96, 3, 8),
  'BHTK,HKD->BTD': (4, 24, 32),
}


def leaves_of(format, equation, groups=4):
  shape = EQUATIONS[equation]
  contracted = len(shape) - 1 if equation.startswith('BHTK') else 1
  kernel = jax.random.normal(jax.random.key(1), shape)
  codes, parts = packed.FORMATS[format].quantize(
    kernel, Layout(len(shape), 0, contracted), groups
  )
  return {'kernel': codes} | parts


def inputs(equation, tokens, dtype=jnp.float32):
  shape = (1, 4, tokens, 24) if equation.startswith('BHTK') else (1, tokens, 96)
  return jax.random.normal(jax.random.key(2), shape, dtype)


@pytest.mark.parametrize('format', packed.FORMATS)
@pytest.mark.parametrize('equation', EQUATIONS)
@pytest.mark.parametrize('tokens', (1, 5))
def test_a_product_is_that_with_the_kernel_in_full(format, equation, tokens):
  product = linear.Product(equation, 'float32')
  leaves, x = leaves_of(format, equation), inputs(equation, tokens)
  found = jax.jit(lambda x, leaves: linear.multiply(product, x, leaves))(x, leaves)
  wanted = jnp.einsum(equation, x, product.kernel(leaves, jnp.float32))
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)
  stored = {name: linear.prepared(leaf) for name, leaf in leaves.items()}
  again = jax.jit(lambda x, leaves: linear.multiply(product, x, leaves))(x, stored)
  np.testing.assert_allclose(again, wanted, rtol=1e-4, atol=1e-3)


def test_gradients_of_inputs_are_those_of_the_kernel_in_full():
  equation = 'BTD,DHK->BHTK'
  product, leaves = linear.Product(equation, 'float32'), leaves_of('int8', equation)
  kernel, x = product.kernel(leaves, jnp.float32), inputs(equation, 3)
  found = jax.grad(lambda x: jnp.square(linear.multiply(product, x, leaves)).sum())(x)
  wanted = jax.grad(lambda x: jnp.square(jnp.einsum(equation, x, kernel)).sum())(x)
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize('tokens', (1, 3))
def test_whole_numbers_have_exact_sums(tokens):
  random = np.random.default_rng(0)
  x = np.full((tokens, 2300), 127, np.int32)
  x[:, ::7] = random.integers(-127, 128, x[:, ::7].shape)
  codes = np.full((2300, 6), 127, np.int8)
  codes[:, 3:] = random.integers(-127, 128, (2300, 3))
  from gpt_jax.quantization import matmul_cpu

  sums = matmul_cpu.whole_product(jnp.asarray(x, jnp.float32), jnp.asarray(codes))
  assert sums.dtype == jnp.int32
  np.testing.assert_array_equal(sums, x @ codes.astype(np.int32))
  other = linear._int8_dot(jnp.asarray(x, jnp.float32), jnp.asarray(codes))
  np.testing.assert_array_equal(other, sums)


def test_inputs_in_int8_are_rounded_token_by_token():
  kernel = jax.random.normal(jax.random.key(1), (96, 24))
  codes, parts = int8.quantize(kernel, Layout(2, 0, 1))
  x = jax.random.normal(jax.random.key(2), (3, 96)) * jnp.array([[1.0], [50], [0.0]])
  found = linear.int8_product(x, {'kernel': codes} | parts)
  steps = np.abs(np.asarray(x)).max(1, keepdims=True) / 127
  near = np.round(np.asarray(x) / np.where(steps > 0, steps, 1)) * steps
  wanted = near @ np.asarray(codes, np.float64) * np.asarray(parts[int8.SCALE])
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)
  product = linear.Product('TD,DF->TF', 'float32', int8_inputs=True)
  np.testing.assert_allclose(linear.rounded_inputs(product, x), near, rtol=1e-5)


def test_outliers_of_inputs_are_multiplied_in_full():
  kernel = jax.random.normal(jax.random.key(1), (96, 24))
  codes, parts = int8.quantize(kernel, Layout(2, 0, 1))
  leaves = {'kernel': codes} | parts
  x = jax.random.normal(jax.random.key(2), (4, 96)).at[:, 5].set(80.0)
  exact = x @ int8.dequantize(codes, parts, Layout(2, 0, 1))

  def error(threshold):
    return float(jnp.abs(linear.int8_product(x, leaves, threshold) - exact).max())

  assert error(6.0) < error(0.0) / 10
  product = linear.Product('TD,DF->TF', 'float32', True, 6.0)
  near = linear.rounded_inputs(product, x)
  np.testing.assert_array_equal(near[:, 5], x[:, 5])
  np.testing.assert_allclose(
    near @ int8.dequantize(codes, parts, Layout(2, 0, 1)),
    linear.int8_product(x, leaves, 6.0),
    rtol=1e-4,
    atol=1e-3,
  )


@pytest.mark.parametrize('tokens', (1, 4))
@pytest.mark.parametrize('width', (48, 35, 128))
def test_an_output_layer_reads_rows_in_eight_bits(tokens, width):
  table_VD = jax.random.normal(jax.random.key(1), (50, width))
  codes_VD, scale_VG = rows.quantize(table_VD)
  leaves = {rows.NAME: codes_VD, rows.SCALE: scale_VG}
  x = jax.random.normal(jax.random.key(2), (1, tokens, width))
  product = linear.Product('BTD,VD->BTV', 'float32')
  found = jax.jit(lambda x: linear.multiply(product, x, leaves))(x)
  full = rows.dequantize(codes_VD, scale_VG)
  assert np.all(
    np.abs(full - table_VD) <= np.asarray(scale_VG).max(1, keepdims=True) * 0.51
  )
  np.testing.assert_allclose(found, x @ full.T, rtol=1e-4, atol=1e-3)
