"""The pytree that objectives hand to the model and the loss."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.attention import masks
from gpt_jax.objectives.example import Example, split


def test_split_shifts_by_one():
  inputs_BT, targets_BT = split(jnp.arange(10).reshape(2, 5))
  np.testing.assert_array_equal(inputs_BT + 1, targets_BT)
  assert inputs_BT.shape == (2, 4)


def test_an_example_splits_into_microbatches_as_a_pytree():
  rows = jnp.arange(8).reshape(4, 2)
  example = Example(rows, rows + 1, jnp.ones((4, 2)), masks.causal(segments_BT=rows))
  split_example = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), example)
  second = jax.tree.map(lambda x: x[1], split_example)
  np.testing.assert_array_equal(second.mask.segments_BT, rows[2:])
  assert second.mask.causal and second.positions_BT is None
