"""A workload: shapes of training, ids that exist."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.benchmarks import workload
from gpt_jax.planning import inputs


def test_the_batch_has_shapes_of_training_and_valid_ids(timed):
  shapes = inputs.abstract_batch(timed.program)
  assert {n: x.shape for n, x in timed.batch.items()} == {
    n: s.shape for n, s in shapes.items()
  }
  tokens_BN = np.asarray(timed.batch['tokens'])
  assert tokens_BN.min() >= 0
  assert tokens_BN.max() == 15
  assert (timed.rows, timed.tokens) == (8, 8 * 16)


def test_a_batch_with_segments_has_one_document_a_row():
  shape = jax.ShapeDtypeStruct((2, 5), jnp.int32)
  names = ('tokens', 'segments', 'positions')
  batch = workload.random_batch(dict.fromkeys(names, shape), 7)
  np.testing.assert_array_equal(batch['segments'], np.ones((2, 5)))
  np.testing.assert_array_equal(batch['positions'], [range(5), range(5)])
