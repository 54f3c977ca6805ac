"""Two dropout passes: the formula, equal passes, padding ids, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives import losses
from gpt_jax.program import r_drop
from tests import tiny_runs
from tests.program import tiny_labels

R_DROP = {'regularization.r_drop': 2.0, 'model.dropout': 0.2}


def two_outputs(C=5):
  rng = np.random.default_rng(0)
  return [rng.normal(size=(2, 3, C)).astype(np.float32) for _ in range(2)]


def test_the_divergence_is_the_mean_of_both_directions():
  p, q = (jax.nn.softmax(outputs) for outputs in two_outputs())
  forward = jnp.sum(p * jnp.log(p / q), axis=-1)
  backward = jnp.sum(q * jnp.log(q / p), axis=-1)
  found = r_drop.symmetric_divergence(*two_outputs())
  np.testing.assert_allclose(found, (forward + backward) / 2, rtol=1e-5)


def test_ids_that_pad_the_vocabulary_do_not_count():
  one, other = two_outputs()
  wanted = r_drop.symmetric_divergence(one[..., :4], other[..., :4])
  other[..., 4] = 50.0
  found = r_drop.symmetric_divergence(one, other, 4)
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  gradient = jax.grad(lambda x: r_drop.symmetric_divergence(one, x, 4).sum())(other)
  assert np.isfinite(gradient).all()
  assert (gradient[..., 4] == 0).all()


def test_the_loss_is_the_mean_and_the_weighted_divergence():
  program = tiny_labels.build()
  one = tiny_labels.example(program)
  rng = np.random.default_rng(1)
  outputs = [rng.normal(size=(8, 8, 3)).astype(np.float32) for _ in range(2)]
  found = r_drop.agreeing_loss(*outputs, one, 2.0, {})
  sums = [losses.cross_entropy(o, one.targets_BT, one.weights_BT) for o in outputs]
  mean = (sums[0].objective_sum + sums[1].objective_sum) / 2
  divergence = jnp.sum(one.weights_BT * r_drop.symmetric_divergence(*outputs))
  np.testing.assert_allclose(found.objective_sum, mean + 2 * divergence, rtol=1e-5)
  np.testing.assert_allclose(found.metric_sums['loss'], mean, rtol=1e-5)
  np.testing.assert_allclose(found.metric_sums[r_drop.METRIC], divergence, rtol=1e-5)


def test_equal_dropout_makes_the_plain_step(monkeypatch):
  monkeypatch.setattr(r_drop, 'two_keys', lambda key: (key, key))
  agreeing = tiny_labels.build(R_DROP | {'seed': 2})
  gradient, metrics = tiny_labels.moved(agreeing)
  plain = tiny_labels.build({'model.dropout': 0.2, 'seed': 2})
  wanted, others = tiny_labels.moved(plain)
  assert metrics.pop(r_drop.METRIC) == 0
  tiny_labels.assert_close((gradient, metrics), (wanted, others))


def test_dropout_of_the_passes_differs_and_evaluation_has_none():
  program = tiny_labels.build(R_DROP)
  _, metrics = tiny_labels.moved(program)
  assert metrics[r_drop.METRIC] > 1e-4
  objective = metrics['loss'] + 2 * metrics[r_drop.METRIC]
  np.testing.assert_allclose(metrics['objective'], objective, rtol=1e-5)
  params = program.init(0).params
  sums = [p.evaluate(params, tiny_labels.batch(), 0) for p in (program, plain())]
  tiny_labels.assert_close(*sums)


def plain():
  return tiny_labels.build()


@pytest.mark.slow
def test_it_goes_with_adversarial_training_and_language_models():
  both = R_DROP | {'regularization.adversarial': 'fgm', 'train.grad_accum': 2}
  _, metrics = tiny_labels.moved(tiny_labels.build(both))
  assert metrics['skipped'] == 0
  assert metrics['adversarial_loss'] > metrics['loss']
  language = R_DROP | {'objective.name': 'causal_lm'}
  _, metrics = tiny_labels.moved(tiny_labels.build(language))
  assert metrics['skipped'] == 0
  assert metrics[r_drop.METRIC] > 0


@pytest.mark.parametrize(
  'overrides, message',
  [
    ({'model.dropout': 0.0}, 'set model.dropout, such as 0.1'),
    ({'objective.loss': 'fused'}, 'set "auto"'),
    ({'objective.name': 'layer_skip'}, 'a loss of its own'),
  ],
)
def test_what_has_no_two_outputs_is_refused(overrides, message):
  settings = tiny_runs.SGD | R_DROP | overrides
  with pytest.raises(ConfigError, match=message):
    tiny_labels.build_config(tiny_runs.tiny_config(settings))
