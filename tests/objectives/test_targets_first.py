"""Tokens that bear loss come first, on each device, and gradients go back to theirs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.objectives.targets_first import targets_first

WEIGHTS_BT = jnp.array([[0, 2, 0, 1], [3, 0, 0, 4]], jnp.float32)
TARGETS_BT = jnp.arange(8).reshape(2, 4)
X_BTD = jnp.arange(16.0).reshape(2, 4, 2)


@pytest.mark.parametrize(
  'shards, expected',
  [
    ((1, 1), [[1, 3, 4, 7, 0, 2, 5, 6]]),
    ((2, 1), [[1, 3, 0, 2], [4, 7, 5, 6]]),
    ((1, 2), [[1, 4, 0, 5, 3, 7, 2, 6]]),  # both rows of a device's part of the time
  ],
)
def test_each_device_keeps_its_tokens_those_with_loss_first(shards, expected):
  x, targets, weights = targets_first(X_BTD, TARGETS_BT, WEIGHTS_BT, None, shards)
  assert targets.tolist() == expected
  np.testing.assert_array_equal(x, X_BTD.reshape(8, 2)[targets])
  np.testing.assert_array_equal(weights, WEIGHTS_BT.reshape(8)[targets])


def test_the_gradient_comes_back_in_the_first_order():
  factors_BTD = jax.random.normal(jax.random.key(0), (1, 8, 2))

  def loss(x_BTD):
    x, _, _ = targets_first(x_BTD, TARGETS_BT, WEIGHTS_BT, None, (1, 1))
    return (factors_BTD * x).sum()

  order = targets_first(X_BTD, TARGETS_BT, WEIGHTS_BT, None, (1, 1))[1]
  expected = jnp.zeros((8, 2)).at[order[0]].set(factors_BTD[0])
  np.testing.assert_allclose(jax.grad(loss)(X_BTD).reshape(8, 2), expected)
