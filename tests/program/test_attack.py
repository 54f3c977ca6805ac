"""Metrics under attack are those of embeddings moved by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.evaluation.evaluate import metrics_from_sums
from tests import tiny_runs
from tests.program import tiny_labels

EPSILON = {'eval.attack_epsilon': 0.3}


def scored(program, params):
  sums = program.evaluate(params, tiny_labels.batch(), 0)
  sums = {name: np.asarray(value, np.float64) for name, value in sums.items()}
  return metrics_from_sums(sums, program.objective, program.metrics)


def test_attacked_metrics_are_those_computed_by_hand():
  program = tiny_labels.build(EPSILON)
  params = program.init(0).params

  def loss(r_BTD):
    return tiny_labels.mean_nll(program, params, r_BTD)

  g_BTD = jax.jit(jax.grad(loss))(jnp.zeros((8, 8, 32)))
  length_B11 = jnp.sqrt(jnp.sum(g_BTD**2, axis=(1, 2), keepdims=True))
  log_probs_BC = tiny_labels.log_probs(program, params, 0.3 * g_BTD / length_B11)
  label_B = tiny_labels.labels(program)
  found = scored(program, params)
  expected = -jnp.mean(log_probs_BC[jnp.arange(8), label_B])
  assert found['attacked_loss'] == pytest.approx(float(expected), rel=1e-5)
  accuracy = float(jnp.mean(jnp.argmax(log_probs_BC, -1) == label_B))
  assert found['attacked_accuracy'] == pytest.approx(accuracy)
  assert found['attacked_loss'] > found['loss']
  plain = scored(tiny_labels.build(), params)
  assert {name: found[name] for name in plain} == pytest.approx(plain, rel=1e-5)


def test_an_attack_of_almost_nothing_changes_no_metric():
  program = tiny_labels.build({'eval.attack_epsilon': 1e-7})
  found = scored(program, program.init(0).params)
  assert found['attacked_loss'] == pytest.approx(found['loss'], rel=1e-5)
  assert found['attacked_accuracy'] == found['accuracy']


@pytest.mark.slow
def test_next_tokens_and_class_weights_are_attacked_too():
  weights = {'objective.options.class_weights': (1.0, 2.0, 5.0)}
  for overrides in ({'objective.name': 'causal_lm'}, weights):
    program = tiny_labels.build(EPSILON | overrides)
    found = scored(program, program.init(0).params)
    assert found['attacked_loss'] > found['loss']
    assert 0 <= found['attacked_accuracy'] <= found['accuracy']


@pytest.mark.slow
def test_a_run_writes_its_attacked_metrics(tmp_path):
  from gpt_jax.train import loop

  config = tiny_runs.tiny_config(EPSILON | tiny_runs.ONE_LAYER | {'train.steps': 1})
  loop.train(config, tmp_path, quiet=True)
  scores = [
    line for line in tiny_runs.lines(tmp_path) if 'validation/attacked_loss' in line
  ]
  assert scores[-1]['validation/attacked_loss'] > scores[-1]['validation/loss']


def a_loss_of_its_own(cfg, *, vocab, seq_len):
  from gpt_jax import objectives

  return objectives.Objective(lambda batch, rng: batch, lambda forward, example: None)


@pytest.mark.parametrize(
  'overrides', [EPSILON, {'regularization.adversarial': 'fgm'}], ids=['eval', 'train']
)
def test_losses_of_several_passes_are_not_attacked(overrides):
  settings = {'objective.name': f'{__name__}:a_loss_of_its_own'} | overrides
  with pytest.raises(ConfigError, match='has a loss of its own'):
    tiny_labels.build_config(tiny_runs.tiny_config(settings))
