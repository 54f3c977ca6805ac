"""Embedded tokens change from outside, in scanned and recomputed models too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.program import embedding_hook
from tests.program import tiny_labels

PERTURBATION = np.random.default_rng(1).normal(size=(8, 8, 32)).astype(np.float32)
MODELS = {
  'unrolled': {},
  'scanned and recomputed': {'model.scan_layers': True, 'model.remat': 'full'},
  'two embeddings': {'model.position': 'learned', 'model.token_types': 2},
  'post-norm': {'model.norm_position': 'post', 'model.norm': 'layernorm'},
}


@pytest.mark.parametrize('name', sorted(MODELS))
def test_a_perturbed_token_is_one_with_another_embedding(name):
  program = tiny_labels.build(MODELS[name])
  params = program.init(0).params
  log_probs = tiny_labels.log_probs(program, params, PERTURBATION)
  loss = -np.mean(np.asarray(log_probs)[np.arange(8), tiny_labels.labels(program)])
  sums = jax.jit(program_loss(program))(params, PERTURBATION)
  np.testing.assert_allclose(sums / 8, loss, rtol=1e-5)


def program_loss(program):
  one = tiny_labels.example(program)

  def loss(params, perturbation_BTD):
    changes = (embedding_hook.adding(perturbation_BTD, program.rules),)
    with embedding_hook.applied(changes):
      x_BTD, _, _ = program.model.apply(
        {'params': params}, one.inputs_BT, one.mask, one.positions_BT, method='hidden'
      )
    place_B = jnp.argmax(one.weights_BT, axis=1)
    is_read_BT = jnp.arange(8)[None] <= place_B[:, None]
    share_BT = is_read_BT / is_read_BT.sum(1)[:, None]
    logits_BC = program.model.apply(
      {'params': params},
      jnp.einsum('BT,BTD->BD', share_BT, x_BTD),
      method='apply_task_head',
    )
    log_probs_BC = jax.nn.log_softmax(logits_BC)
    return -jnp.sum(log_probs_BC[jnp.arange(8), tiny_labels.labels(program)])

  return loss


def test_changes_act_in_their_order_and_on_tokens_alone():
  program = tiny_labels.build(MODELS['two embeddings'])
  params = program.init(0).params
  one, seen = tiny_labels.example(program), []

  def double(x_BTD):
    seen.append(x_BTD)
    return 2 * x_BTD

  with embedding_hook.applied((double, double)):
    program.model.apply({'params': params}, one.inputs_BT, one.mask, one.positions_BT)
  assert len(seen) == 2
  rows_BTD = params['embed']['embedding'][one.inputs_BT]
  np.testing.assert_array_equal(seen[0], rows_BTD)
  np.testing.assert_array_equal(seen[1], 2 * rows_BTD)


def test_the_dtype_of_the_stream_stays():
  change = embedding_hook.adding(jnp.ones((1, 2, 3)), None)
  assert change(jnp.zeros((1, 2, 3), jnp.bfloat16)).dtype == jnp.bfloat16
