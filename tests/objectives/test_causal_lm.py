"""The left-to-right objective, documents apart or not."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.objectives import Vocab, causal_lm

TOKENS = jnp.array([[5, 6, 7, 8, 9, 3, 0]])
SEGMENTS = jnp.array([[1, 1, 1, 2, 2, 2, 0]])
POSITIONS = jnp.array([[0, 1, 2, 0, 1, 2, 0]])


def example(**batch):
  objective = causal_lm.make(None, vocab=Vocab(10), seq_len=6)
  return objective(dict(tokens=TOKENS) | batch, jax.random.key(0))


def test_every_token_predicts_the_next_one():
  got = example()
  np.testing.assert_array_equal(got.inputs_BT, [[5, 6, 7, 8, 9, 3]])
  np.testing.assert_array_equal(got.targets_BT, [[6, 7, 8, 9, 3, 0]])
  np.testing.assert_array_equal(got.weights_BT, np.ones((1, 6)))
  assert got.positions_BT is None
  np.testing.assert_array_equal(got.mask.allowed(6, 6)[0], np.tri(6, dtype=bool))


def test_no_loss_across_documents_nor_on_padding():
  got = example(segments=SEGMENTS, positions=POSITIONS)
  np.testing.assert_array_equal(got.weights_BT, [[1, 1, 0, 1, 1, 0]])
  np.testing.assert_array_equal(got.positions_BT, [[0, 1, 2, 0, 1, 2]])
  apart = np.asarray(got.mask.allowed(6, 6)[0])
  assert not apart[3:, :3].any() and apart[5, 3:].all()


def test_a_loss_mask_is_that_of_the_predicted_token():
  loss_mask = jnp.array([[0, 0, 1, 1, 1, 0, 0]])
  got = example(segments=SEGMENTS, positions=POSITIONS, loss_mask=loss_mask)
  np.testing.assert_array_equal(got.weights_BT, [[0, 1, 0, 1, 0, 0]])
