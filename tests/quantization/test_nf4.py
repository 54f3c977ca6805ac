"""NF4 against the levels of the paper and the bound of its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.quantization import nf4
from gpt_jax.quantization.kernel_format import Layout

# arXiv:2305.14314, appendix E.
PUBLISHED = (
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
  -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
  0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
SHAPES = {
  'whole blocks': ((128, 24), Layout(2, 0, 1)),
  'a last block of 36': ((100, 3), Layout(2, 0, 1)),
  'less than a block': ((5, 3, 4), Layout(3, 0, 1)),
  'two dimensions summed': ((3, 50, 8), Layout(3, 0, 2)),
  'a stack of layers': ((2, 96, 4, 8), Layout(4, 1, 1)),
}


def normal(shape, seed=0):
  # Outputs of very different sizes, as trained kernels have them, and one of zeros.
  values = jax.random.normal(jax.random.key(seed), shape, jnp.float32)
  values *= jnp.logspace(-3, 1, shape[-1])
  return values.at[..., 0].set(0.0)


def block_maxima(kernel, layout):
  """Returns the largest |weight| of the block of each weight, by numpy."""
  shape, at = kernel.shape, layout.num_stacked
  end = at + layout.num_contracted
  rows = np.abs(np.asarray(kernel)).reshape(*shape[:at], -1, *shape[end:])
  rows = np.moveaxis(rows, at, 0)
  found = np.empty_like(rows)
  for start in range(0, len(rows), nf4.BLOCK):
    part = slice(start, start + nf4.BLOCK)
    found[part] = rows[part].max(0)
  return np.moveaxis(found, 0, at).reshape(shape)


def test_levels_are_those_of_the_paper():
  np.testing.assert_allclose(nf4.levels(), PUBLISHED, atol=2e-7)


@pytest.mark.parametrize('name', SHAPES)
def test_an_error_is_half_a_step_between_levels_at_most(name):
  shape, layout = SHAPES[name]
  kernel = normal(shape)
  codes, parts = nf4.quantize(kernel, layout)
  assert (codes.dtype, codes.shape) == (jnp.uint4, shape)
  error = np.abs(nf4.dequantize(codes, parts, layout) - kernel)
  maxima = block_maxima(kernel, layout)
  end = layout.num_stacked + layout.num_contracted
  axes = tuple(range(layout.num_stacked, end))
  largest = np.abs(np.asarray(kernel)).max(axes, keepdims=True)
  # The maximum of a block is itself rounded to 1/255 of its output's, or 4/255.
  rounded = np.maximum(maxima, nf4.LEAST / 255 * largest) + largest / 510
  assert np.all(error <= np.diff(PUBLISHED).max() / 2 * rounded + largest / 510 + 1e-7)


@pytest.mark.parametrize('name', SHAPES)
def test_what_was_stored_is_stored_again_without_a_change(name):
  shape, layout = SHAPES[name]
  once = nf4.dequantize(*nf4.quantize(normal(shape), layout), layout)
  twice = nf4.dequantize(*nf4.quantize(once, layout), layout)
  np.testing.assert_array_equal(twice, once)


def test_codes_are_those_of_the_nearest_levels():
  layout = Layout(2, 0, 1)
  kernel = jnp.clip(normal((64, 6)), -3, 3).at[0].set(3.0)  # the maximum of each block
  codes, _ = nf4.quantize(kernel, layout)
  distance = np.abs(np.asarray(kernel)[..., None] / 3 - np.array(PUBLISHED))
  np.testing.assert_array_equal(np.asarray(codes, np.int32), distance.argmin(-1))


def test_normal_weights_lose_nine_percent():
  # The levels are made for them: RMS error over RMS, with blocks of 64.
  layout = Layout(2, 0, 1)
  kernel = jax.random.normal(jax.random.key(1), (4096, 32))
  error = nf4.dequantize(*nf4.quantize(kernel, layout), layout) - kernel
  assert float(jnp.std(error)) == pytest.approx(0.0925, abs=0.005)


def test_both_ways_to_a_level_agree():
  codes = jnp.arange(16, dtype=jnp.uint8)
  np.testing.assert_array_equal(nf4._looked_up(codes), nf4._selected(codes))
  np.testing.assert_array_equal(nf4._selected(codes), np.float32(nf4.LEVELS))


def test_a_kernel_of_zeros_stays_one():
  layout = Layout(2, 0, 1)
  found = nf4.dequantize(*nf4.quantize(jnp.zeros((64, 2)), layout), layout)
  np.testing.assert_array_equal(found, 0)
