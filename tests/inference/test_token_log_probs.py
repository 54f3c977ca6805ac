"""Log-probabilities beside written tokens are those of the model."""

import jax
import numpy as np

from gpt_jax.inference import token_log_probs


def test_written_and_likeliest_tokens_have_log_probabilities():
  logits_BV = np.random.default_rng(0).normal(0, 2, (3, 30)).astype(np.float32)
  found = token_log_probs.of(logits_BV, np.array([7, 0, 29]))
  expected_BV = np.asarray(jax.nn.log_softmax(logits_BV))
  np.testing.assert_allclose(found.written, expected_BV[range(3), [7, 0, 29]])
  np.testing.assert_array_equal(found.top_id, np.argsort(-expected_BV)[:, :20])
  np.testing.assert_allclose(found.top, -np.sort(-expected_BV)[:, :20])


def test_a_small_vocabulary_has_fewer_likeliest_tokens():
  found = token_log_probs.of(np.zeros((2, 5), np.float32), np.array([1, 4]))
  assert found.top.shape == (2, 5) and np.allclose(found.written, -np.log(5))
