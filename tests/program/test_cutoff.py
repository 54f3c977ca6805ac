"""Cut tokens read as zeros, at their rate, in training alone."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.program import cutoff
from gpt_jax.program.forward import Forward
from gpt_jax.program.step import random_keys
from tests.program import tiny_labels

RATE = {'regularization.cutoff': 0.4}


def kept(rng, rate, shape=(8, 8)):
  """Returns which tokens the change of a Forward keeps, [B, T]."""
  forward = cutoff.applied(Forward(model=None, params=None, dropout_rng=rng), rate)
  (change,) = forward.embedding_changes
  changed_BTD = change(jnp.ones((*shape, 4)))
  assert ((changed_BTD == 0) | (changed_BTD == 1)).all()
  np.testing.assert_array_equal(changed_BTD.min(-1), changed_BTD.max(-1))
  return changed_BTD[..., 0]


def test_whole_tokens_are_cut_at_the_rate():
  share = kept(jax.random.key(0), 0.3, (200, 100)).mean()
  assert abs(share - 0.7) < 0.02  # 6 standard deviations


def test_a_step_is_that_of_embeddings_with_zeros():
  program = tiny_labels.build(RATE)
  params = program.init(0).params
  _, rng = random_keys(0, 0)
  is_kept_BT1 = kept(rng, 0.4)[..., None]

  def loss(params):
    rows_BTD = params['embed']['embedding'][tiny_labels.example(program).inputs_BT]
    cut_BTD = (is_kept_BT1 - 1) * rows_BTD
    return tiny_labels.mean_nll(program, params, cut_BTD)

  value, wanted = jax.jit(jax.value_and_grad(loss))(params)
  gradient, metrics = tiny_labels.moved(program)
  tiny_labels.assert_close(gradient, wanted)
  np.testing.assert_allclose(metrics['loss'], value, rtol=1e-5)


def test_nothing_is_cut_in_evaluation():
  programs = tiny_labels.build(), tiny_labels.build(RATE)
  params = programs[0].init(0).params
  sums = [p.evaluate(params, tiny_labels.batch(), 0) for p in programs]
  tiny_labels.assert_close(*sums)
