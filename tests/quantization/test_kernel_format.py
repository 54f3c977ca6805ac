"""Layouts, and steps whose multiples are exact."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.quantization.kernel_format import Layout, exact_steps


def test_contracted_dimensions_follow_the_stack():
  assert Layout(4, 1, 2).contracted == (1, 2)
  assert Layout(2, 0, 1).contracted == (0,)


def test_multiples_of_steps_are_exact():
  maxima = jax.random.uniform(jax.random.key(0), (1000,), jnp.float32)
  for count in (127, 255):
    steps = jax.jit(exact_steps, static_argnums=1)(maxima, count)
    largest = np.asarray(steps) * np.float32(count)
    exact = np.asarray(steps, np.float64) * count
    np.testing.assert_array_equal(largest.astype(np.float64), exact)
    np.testing.assert_allclose(largest, maxima, rtol=2**-16)
    np.testing.assert_array_equal(exact_steps(jnp.asarray(largest), count), steps)
