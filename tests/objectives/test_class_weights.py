"""Class weights: the loss is a weighted mean, what is counted stays as it was."""

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.evaluation.evaluate import metrics_from_sums
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from tests import tiny_runs

WEIGHTS = (0.25, 1.0, 4.0)
RNG = np.random.default_rng(0)
BATCH = {
  'tokens': RNG.integers(0, 50, (8, 9)).astype(np.int32),
  'labels': RNG.integers(-1, 3, (8, 9)).astype(np.int32),
}
PROGRAMS = {}


def build(weights=(), name='token_labels', grad_accum=1):
  key = weights, name, grad_accum
  if key not in PROGRAMS:
    settings = tiny_runs.SGD | tiny_runs.ONE_LAYER
    settings |= {
      'objective.name': name,
      'objective.options.num_labels': 3,
      'objective.options.class_weights': weights,
      'data.seq_len': 8,
      'train.grad_accum': grad_accum,
    }
    config = tiny_runs.tiny_config(settings)
    mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
    vocab = objectives.Vocab(size=50, eos_id=0)
    PROGRAMS[key] = build_program(config, vocab=vocab, mesh=mesh)
  return PROGRAMS[key]


def predicted(program, params):
  """Returns (log-probabilities [N, 3], labels [N]) of the labelled places."""
  example = program.objective(BATCH, jax.random.key(0))
  outputs_BTC, _ = program.model.apply(
    {'params': params}, example.inputs_BT, example.mask
  )
  is_counted = np.asarray(example.weights_BT) > 0
  log_probs = np.asarray(jax.nn.log_softmax(outputs_BTC))[is_counted]
  return log_probs, np.asarray(example.targets_BT)[is_counted]


def weighted_nll(log_probs, labels, weights):
  """The formula of torch.nn.CrossEntropyLoss with `weight` and the mean."""
  weight_N = np.asarray(weights)[labels]
  nll_N = -log_probs[np.arange(len(labels)), labels]
  return (weight_N * nll_N).sum() / weight_N.sum()


@pytest.mark.parametrize(
  'name', [pytest.param('token_labels', marks=pytest.mark.slow), 'class_labels']
)
def test_the_loss_is_the_weighted_mean_of_torch(name):
  program = build(WEIGHTS, name)
  params = program.init(0).params
  log_probs, labels = predicted(program, params)
  sums = program.evaluate(params, BATCH, 0)
  sums = {key: np.asarray(value, np.float64) for key, value in sums.items()}
  found = metrics_from_sums(sums, program.objective, program.metrics)
  expected = weighted_nll(log_probs, labels, WEIGHTS)
  assert found['loss'] == pytest.approx(expected, rel=1e-5)
  assert found['accuracy'] == pytest.approx((log_probs.argmax(-1) == labels).mean())
  assert found.get('labels', found.get('documents')) == len(labels)
  plain = build((), name).evaluate(params, BATCH, 0)
  macro = {key: value for key, value in plain.items() if key.startswith('macro_f1')}
  for key, value in macro.items():
    np.testing.assert_array_equal(sums[key], value)
  _, metrics = program.step(program.init(0), BATCH)
  assert float(metrics['loss']) == pytest.approx(expected, rel=1e-5)
  assert float(metrics['objective']) == pytest.approx(expected, rel=1e-5)
  assert float(metrics['accuracy']) == pytest.approx(found['accuracy'])
  assert metrics['targets'] == len(labels)


def test_equal_weights_make_the_step_without_weights():
  results = [
    program.step(program.init(0), BATCH) for program in (build(), build((3.0,) * 3))
  ]
  named = [tuple(map(tiny_runs.named, result)) for result in results]
  tiny_runs.assert_same(named[0][0], named[1][0], atol=1e-6)
  tiny_runs.assert_same(named[0][1], named[1][1], rtol=1e-5, atol=1e-6)


def test_weighted_microbatches_make_the_step_of_one_batch():
  results = [
    program.step(program.init(0), BATCH)
    for program in (build(WEIGHTS), build(WEIGHTS, grad_accum=4))
  ]
  named = [tuple(map(tiny_runs.named, result)) for result in results]
  tiny_runs.assert_same(named[0][0], named[1][0], atol=1e-6)
  tiny_runs.assert_same(named[0][1], named[1][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  'weights, message',
  [
    ((1.0, 2.0), 'give one for each'),
    ((0.0, 0.0, 0.0), 'expected one above 0'),
    ((1.0, -1.0, 1.0), 'expected at least 0'),
  ],
)
def test_weights_of_other_classes_are_refused(weights, message):
  with pytest.raises(ConfigError, match=message):
    build(weights)
