"""Stacked layers as unrolled ones and back: nothing lost, order kept."""

import numpy as np

from gpt_jax.core import pytree
from gpt_jax.model import stacking
from tests import small_models as small


def params(num_layers=2, **overrides):
  return small.random_params(
    small.make_gpt(
      small.resolve(
        model__num_layers=num_layers,
        **{f'model__{name}': value for name, value in overrides.items()},
      )
    )
  )


def test_unstacking_and_stacking_again_changes_nothing():
  stacked = params(layer_pattern=('global', 'local:2'), num_layers=4)
  small.assert_trees_close(stacking.stack(stacking.unstack(stacked)), stacked, atol=0)


def test_layer_i_is_slice_i_beyond_the_tenth_too():
  stacked = params(num_layers=12)
  unrolled = stacking.unstack(stacked)
  kernel = stacked['layers']['block_0']['mlp']['up']['kernel']
  for i in range(12):
    np.testing.assert_array_equal(
      unrolled[f'layers_{i}']['block_0']['mlp']['up']['kernel'], kernel[i]
    )
  small.assert_trees_close(stacking.stack(unrolled), stacked, atol=0)


def test_unstacked_parameters_are_those_of_the_unrolled_model():
  unrolled = params(scan_layers=False)
  small.assert_trees_close(
    pytree.map_named(lambda _, leaf: leaf * 0, stacking.unstack(params())),
    pytree.map_named(lambda _, leaf: leaf * 0, unrolled),
  )


def test_a_tree_in_the_form_asked_is_left_alone():
  unrolled, stacked = params(scan_layers=False), params()
  assert stacking.unstack(unrolled) is unrolled
  assert stacking.stack(stacked) is stacked
