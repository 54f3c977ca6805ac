"""Norms by layer: numbers by hand, names as the parameters have them."""

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.program import norms

TREE = {
  'embed': {'embedding': jnp.array([[3.0, 4.0]])},
  'layers': {'mlp': {'kernel': jnp.array([[[1.0, 0.0]], [[0.0, 2.0]]])}},
}


def test_a_stack_of_layers_has_a_norm_for_each():
  measured = norms.by_layer({'grad': TREE})
  assert measured['grad/embed/embedding'] == 5
  np.testing.assert_allclose(measured['grad/layers/mlp/kernel'], [1, 2])


def test_kinds_stand_before_the_names():
  measured = norms.by_layer({'grad': TREE, 'param': TREE})
  assert sorted(measured) == [
    'grad/embed/embedding', 'grad/layers/mlp/kernel',
    'param/embed/embedding', 'param/layers/mlp/kernel',
  ]  # fmt: skip


def test_half_precision_does_not_overflow():
  big = {'w': jnp.full((1000,), 300.0, jnp.float16)}
  assert norms.by_layer({'grad': big})['grad/w'] == pytest.approx(300 * 1000**0.5)
  assert norms.total(big) == pytest.approx(300 * 1000**0.5)
  small = {'w': jnp.full((1000,), 1e-4, jnp.float16)}
  assert norms.total(small) == pytest.approx(1e-4 * 1000**0.5, rel=1e-3)


def test_flat_norms_are_plain_floats_with_the_layer_at_the_end():
  flat = norms.flatten(norms.by_layer({'grad': TREE}))
  assert flat == {
    'grad/embed/embedding': 5.0,
    'grad/layers/mlp/kernel/0': 1.0,
    'grad/layers/mlp/kernel/1': 2.0,
  }
  assert {type(value) for value in flat.values()} == {float}


def test_unrolled_layers_are_single_names():
  flat = norms.flatten(norms.by_layer({'grad': {'layers_0': {'kernel': jnp.ones(4)}}}))
  assert flat == {'grad/layers_0/kernel': 2.0}
