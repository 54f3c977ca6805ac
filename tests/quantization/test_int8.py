"""Kernels in 8 bits: errors of half a step, and none the second time."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.quantization import int8, nf4
from gpt_jax.quantization.kernel_format import Layout

STACKED = Layout(4, 1, 1)  # [L, D, H, K]


def normal(shape, seed=0):
  values = jax.random.normal(jax.random.key(seed), shape, jnp.float32)
  return (values * jnp.logspace(-3, 1, shape[-1])).at[..., 0].set(0.0)


def test_an_error_is_half_a_step_of_its_output_at_most():
  kernel = normal((2, 96, 4, 8))
  codes, parts = int8.quantize(kernel, STACKED)
  assert (codes.dtype, codes.shape) == (jnp.int8, kernel.shape)
  error = np.abs(int8.dequantize(codes, parts, STACKED) - kernel)
  largest = np.abs(np.asarray(kernel)).max(1, keepdims=True)
  # Steps have 16 bits.
  np.testing.assert_allclose(parts[int8.SCALE], largest[:, 0] / 127, rtol=2e-5)
  assert np.all(error <= largest / 254 * (1 + 127 * 2e-5))


def test_what_was_stored_is_stored_again_without_a_change():
  once = int8.dequantize(*int8.quantize(normal((2, 96, 4, 8)), STACKED), STACKED)
  twice = int8.dequantize(*int8.quantize(once, STACKED), STACKED)
  np.testing.assert_array_equal(twice, once)


def test_two_summed_dimensions_share_a_scale():
  kernel, layout = normal((3, 50, 8)), Layout(3, 0, 2)
  codes, parts = int8.quantize(kernel, layout)
  assert parts[int8.SCALE].shape == (8,)
  assert np.abs(np.asarray(codes, np.int32)).max() == int8.LARGEST


def test_errors_are_a_tenth_of_those_of_nf4():
  kernel, layout = jax.random.normal(jax.random.key(1), (4096, 32)), Layout(2, 0, 1)
  errors = [
    float(jnp.std(each.dequantize(*each.quantize(kernel, layout), layout) - kernel))
    for each in (int8, nf4)
  ]
  assert 8 < errors[1] / errors[0] < 13
