"""Mixed rows: the formula, whole shares, labels of partners, other packings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.program import mixup
from gpt_jax.program.step import random_keys
from tests import tiny_runs
from tests.program import tiny_labels

MIXUP = {'regularization.mixup': 0.4}


def drawn():
  _, rng = random_keys(0, 0)
  return mixup.draw(rng, 0.4, 8)


def by_hand(program, share, partner_B, weights=(1.0, 1.0, 1.0)):
  """Returns (loss, gradient) of the formula."""
  label_B = tiny_labels.labels(program)
  weight_B = jnp.asarray(weights)[label_B]
  inputs_BT = tiny_labels.example(program).inputs_BT

  def loss(params):
    x_BTD = params['embed']['embedding'][inputs_BT]
    mixed_BTD = share * x_BTD + (1 - share) * x_BTD[partner_B]
    log_probs_BC = tiny_labels.log_probs(program, params, mixed_BTD - x_BTD)
    nll_B = -log_probs_BC[jnp.arange(8), label_B] * weight_B
    other_B = -log_probs_BC[jnp.arange(8), label_B[partner_B]] * weight_B[partner_B]
    return jnp.sum(share * nll_B + (1 - share) * other_B) / weight_B.sum()

  return jax.jit(jax.value_and_grad(loss))(program.init(0).params)


@pytest.mark.parametrize('weights', [(), (0.5, 1.0, 3.0)], ids=['plain', 'weighted'])
def test_a_step_is_the_formula(weights):
  program = tiny_labels.build(MIXUP | {'objective.options.class_weights': weights})
  share, partner_B = drawn()
  assert 0.5 <= share < 1
  assert sorted(partner_B.tolist()) == list(range(8))
  value, wanted = by_hand(program, share, partner_B, weights or (1.0, 1.0, 1.0))
  gradient, metrics = tiny_labels.moved(program)
  tiny_labels.assert_close(gradient, wanted, atol=2e-6)
  np.testing.assert_allclose(metrics['loss'], value, rtol=1e-5)
  np.testing.assert_allclose(metrics['objective'], value, rtol=1e-5)
  assert metrics['targets'] == 8


def test_a_whole_share_is_the_plain_step(monkeypatch):
  reverse_B = jnp.arange(8)[::-1]
  monkeypatch.setattr(mixup, 'draw', lambda *_: (jnp.float32(1.0), reverse_B))
  mixed = tiny_labels.moved(tiny_labels.build(MIXUP | {'seed': 1}))
  plain = tiny_labels.moved(tiny_labels.build({'seed': 1}))
  tiny_labels.assert_close(mixed, plain)


@pytest.mark.slow
def test_mixed_sharded_steps_are_unsharded_ones():
  one = tiny_labels.moved(tiny_labels.build(MIXUP))
  eight = tiny_labels.moved(tiny_labels.build(MIXUP | tiny_labels.MESH, devices=8))
  for gradient, _ in (one, eight):  # others pad the embedding on the mesh
    gradient['embed']['embedding'] = gradient['embed']['embedding'][:50]
  tiny_labels.assert_close(one, eight, atol=1e-5, rtol=1e-4)


def test_a_row_without_label_leaves_its_partner_alone():
  one = tiny_labels.example(tiny_labels.build())
  weights_BT = one.weights_BT.at[3].set(0.0)
  one = type(one)(one.inputs_BT, one.targets_BT, weights_BT, one.mask)
  partner_B = jnp.array([3, 0, 1, 2, 4, 5, 6, 7])
  found = mixup.with_labels_of(one, partner_B)
  np.testing.assert_array_equal(found.weights_BT, weights_BT)
  np.testing.assert_array_equal(found.targets_BT[0], one.targets_BT[0])
  place = int(jnp.argmax(one.weights_BT[1]))
  assert found.targets_BT[1, place] == tiny_labels.labels(tiny_labels.build())[0]


@pytest.mark.slow
def test_shares_follow_the_beta_distribution():
  rngs = jax.random.split(jax.random.key(0), 4000)
  share_N = jax.vmap(lambda rng: mixup.draw(rng, 0.4, 2)[0])(rngs)
  uniform_N = jax.random.beta(jax.random.key(1), 0.4, 0.4, (4000,))
  expected = np.quantile(np.maximum(uniform_N, 1 - uniform_N), [0.25, 0.5, 0.75])
  np.testing.assert_allclose(
    np.quantile(share_N, [0.25, 0.5, 0.75]), expected, atol=0.02
  )


@pytest.mark.parametrize(
  'overrides, message',
  [
    ({'data.packing': 'first_fit'}, 'set "pad"'),
    ({'objective.name': 'token_labels'}, 'objective.name="class_labels"'),
    ({'regularization.adversarial': 'fgm'}, 'leave one of them out'),
    ({'regularization.r_drop': 1.0, 'model.dropout': 0.1}, 'leave one of them out'),
  ],
)
def test_mixup_of_what_does_not_mix_is_refused(overrides, message):
  settings = tiny_labels.SETTINGS | MIXUP | overrides
  if 'objective.name' in overrides:
    settings = {k: v for k, v in settings.items() if not k.endswith('pooling')}
  with pytest.raises(ConfigError, match=message):
    config = tiny_runs.tiny_config(settings)
    tiny_labels.build_config(config)
