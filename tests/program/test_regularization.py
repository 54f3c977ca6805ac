"""What is off changes no program; what is on goes through train, eval and resume."""

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import regularization
from gpt_jax.program.loss import make_loss
from gpt_jax.train import loop
from tests import tiny_runs
from tests.program import tiny_labels

UNUSED = {
  'regularization.adversarial_epsilon': 0.1,
  'regularization.adversarial_steps': 7,
  'regularization.adversarial_weight': 0.2,
}


def lowered(program):
  shapes = {
    name: jax.ShapeDtypeStruct(value.shape, value.dtype)
    for name, value in tiny_labels.batch().items()
  }
  state = program.abstract_state
  texts = (
    program.step.lower(state, shapes),
    program.evaluate.lower(state.params, shapes, 0),
  )
  return [text.as_text() for text in texts]


def test_what_is_off_is_no_part_of_the_program():
  assert lowered(tiny_labels.build()) == lowered(tiny_labels.build(UNUSED))


def test_without_regularizers_the_loss_is_the_same_object():
  program = tiny_labels.build()
  loss = make_loss(
    program.config, program.objective, program.model, program.horizon, vocab_limit=50
  )
  found = regularization.regularize(program.config, program.objective, loss, 50)
  assert found is loss


@pytest.mark.slow
def test_a_step_is_a_function_of_its_number():
  """Of all that is random: mixed rows, cut tokens, dropout, points of FreeLB."""
  for overrides in (
    {'regularization.mixup': 0.4, 'regularization.cutoff': 0.2, 'model.dropout': 0.1},
    {'regularization.adversarial': 'freelb', 'regularization.cutoff': 0.2},
  ):
    program = tiny_labels.build(overrides)
    results = [tiny_labels.moved(program) for _ in range(2)]
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_tokens_are_cut_for_losses_of_several_passes_too():
  """Cutoff acts on each call of the model; the others need one that they know."""

  def loss(forward, example):
    return forward(example)

  config = tiny_runs.tiny_config({'regularization.cutoff': 0.1})
  own = objectives.Objective(lambda batch, rng: batch, loss)
  regularization.check_objective(config, own)
  other = tiny_runs.tiny_config(
    {'regularization.r_drop': 0.1, 'regularization.cutoff': 0.1}
  )
  with pytest.raises(ConfigError, match='has a loss of its own; set 0'):
    regularization.check_objective(other, own)


@pytest.mark.slow
def test_a_regularized_run_resumes_bit_for_bit(tmp_path):
  settings = {
    'regularization.adversarial': 'freelb',
    'regularization.adversarial_steps': 2,
    'regularization.r_drop': 0.5,
    'regularization.cutoff': 0.1,
    'model.dropout': 0.1,
    'train.grad_accum': 2,
    'train.batch_size': 16,
    'optimizer.layer_decay': 0.9,
    'eval.attack_epsilon': 0.1,
  }
  config = tiny_runs.tiny_config(tiny_runs.ONE_LAYER | settings)
  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  loop.train(config, whole, quiet=True)
  tiny_runs.train_until_crash(config, parts, 3)
  loop.train(config, parts, quiet=True)
  tiny_runs.assert_same(*map(tiny_runs.saved_arrays, (whole, parts)))
  last = [line for line in tiny_runs.lines(whole) if 'train/loss' in line][-1]
  assert last['train/r_drop_divergence'] > 0
  assert last['train/learning_rate_embeddings'] == pytest.approx(0.01 * 0.9**2)
