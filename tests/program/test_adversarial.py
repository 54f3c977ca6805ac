"""Adversarial steps are those computed by hand, with jax.grad of other embeddings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.config.schema import RegularizationConfig
from gpt_jax.program import adversarial
from gpt_jax.program.step import random_keys
from tests import tiny_runs
from tests.program import tiny_labels

EPSILON, STEP, WEIGHT, STEPS = 0.5, 0.2, 0.7, 3


def settings(name, **fields):
  values = dict(
    adversarial=name, adversarial_epsilon=EPSILON, adversarial_step_size=STEP,
    adversarial_steps=STEPS, adversarial_weight=WEIGHT,
  )  # fmt: skip
  return {f'regularization.{key}': value for key, value in (values | fields).items()}


def per_row(values_BTD):
  """Returns the L2 norm over each row, which holds one text (padding has no part)."""
  return jnp.sqrt(jnp.sum(values_BTD**2, axis=(1, 2), keepdims=True))


def by_hand(program, params):
  """Returns {method: (gradient, {metric: value})} of a step without dropout."""

  def loss(params, r_BTD):
    return tiny_labels.mean_nll(program, params, r_BTD)

  by_r = jax.jit(jax.grad(loss, argnums=1))
  by_params = jax.jit(jax.value_and_grad(loss))
  zeros_BTD = jnp.zeros((8, 8, 32))

  def ascend(r_BTD):
    g_BTD = by_r(params, r_BTD)
    r_BTD = r_BTD + STEP * g_BTD / per_row(g_BTD)
    return r_BTD * jnp.minimum(1, EPSILON / jnp.maximum(per_row(r_BTD), EPSILON))

  def with_clean(r_BTD):
    clean, g = by_params(params, zeros_BTD)
    attacked, others = by_params(params, r_BTD)
    gradient = jax.tree.map(lambda a, b: a + WEIGHT * b, g, others)
    return gradient, dict(
      loss=clean, adversarial_loss=attacked, objective=clean + WEIGHT * attacked
    )

  g_BTD = by_r(params, zeros_BTD)
  found = {'fgm': with_clean(EPSILON * g_BTD / per_row(g_BTD))}
  r_BTD = zeros_BTD
  for _ in range(STEPS):
    r_BTD = ascend(r_BTD)
  found['pgd'] = with_clean(r_BTD)
  _, rng = random_keys(0, 0)
  segments_BT = tiny_labels.example(program).mask.segments_BT
  r_BTD = adversarial.start(rng, (8, 8, 32), EPSILON, segments_BT)
  r_BTD *= (segments_BT > 0)[..., None]
  values, gradients = [], []
  for _ in range(STEPS):
    value, gradient = by_params(params, r_BTD)
    values.append(value)
    gradients.append(gradient)
    r_BTD = ascend(r_BTD)
  mean = jax.tree.map(lambda *leaves: sum(leaves) / STEPS, *gradients)
  found['freelb'] = mean, dict(loss=np.mean(values), objective=np.mean(values))
  return found


@pytest.fixture(scope='module')
def expected():
  program = tiny_labels.build()
  return by_hand(program, program.init(0).params)


@pytest.mark.parametrize('name', ['fgm', 'pgd', 'freelb'])
def test_a_step_is_the_one_computed_by_hand(name, expected):
  gradient, metrics = tiny_labels.moved(tiny_labels.build(settings(name)))
  wanted, values = expected[name]
  tiny_labels.assert_close(gradient, wanted, atol=2e-6)
  for key, value in values.items():
    np.testing.assert_allclose(metrics[key], value, rtol=1e-5, err_msg=key)
  if name != 'freelb':
    assert metrics['adversarial_loss'] > metrics['loss']


def test_one_long_step_of_pgd_is_fgm():
  one = settings('pgd', adversarial_steps=1, adversarial_step_size=10.0)
  results = [tiny_labels.moved(tiny_labels.build(s)) for s in (one, settings('fgm'))]
  tiny_labels.assert_close(*results)


@pytest.mark.parametrize('name', ['fgm', 'pgd'])
def test_microbatches_make_the_adversarial_step_of_one_batch(name):
  parts = settings(name) | {'train.grad_accum': 2}
  results = [tiny_labels.moved(tiny_labels.build(s)) for s in (settings(name), parts)]
  tiny_labels.assert_close(*results, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize('name', tiny_runs.mostly_slow(['fgm', 'freelb'], 'freelb'))
def test_sharded_adversarial_steps_are_unsharded_ones(name):
  scanned = settings(name) | {'model.scan_layers': True, 'model.remat': 'full'}
  one = tiny_labels.moved(tiny_labels.build(scanned))
  eight = tiny_labels.moved(tiny_labels.build(scanned | tiny_labels.MESH, devices=8))
  rows = slice(0, 50)  # others pad the embedding on the mesh
  for gradient, _ in (one, eight):
    gradient['embed']['embedding'] = gradient['embed']['embedding'][rows]
  tiny_labels.assert_close(one, eight, atol=2e-5, rtol=1e-4)


def test_dropout_is_the_same_in_all_passes():
  """A perturbation of almost nothing finds the clean loss again."""
  tiny = settings('fgm', adversarial_epsilon=1e-7) | {'model.dropout': 0.3}
  _, metrics = tiny_labels.moved(tiny_labels.build(tiny))
  np.testing.assert_allclose(metrics['adversarial_loss'], metrics['loss'], rtol=1e-5)


def test_evaluation_sees_no_perturbation():
  programs = tiny_labels.build(), tiny_labels.build(settings('freelb'))
  params = programs[0].init(0).params
  sums = [p.evaluate(params, tiny_labels.batch(), 0) for p in programs]
  tiny_labels.assert_close(*sums)


def test_texts_of_a_row_are_perturbed_apart():
  values_BTD = np.random.default_rng(0).normal(size=(1, 5, 2)).astype(np.float32)
  segments_BT = jnp.array([[1, 1, 2, 2, 2]])
  found = np.asarray(adversarial.scaled(values_BTD, 0.3, segments_BT))
  for part in (slice(0, 2), slice(2, 5)):
    own = values_BTD[:, part]
    np.testing.assert_allclose(
      found[:, part], 0.3 * own / np.linalg.norm(own), rtol=1e-5
    )


def test_points_stay_in_the_ball_and_start_in_it():
  segments_BT = jnp.array([[1, 1, 2, 0]])
  cfg = RegularizationConfig(
    mixup=0.0, cutoff=0.0, adversarial='pgd', adversarial_epsilon=0.5,
    adversarial_steps=3, adversarial_step_size=0.4, adversarial_weight=1.0, r_drop=0.0,
    l2_sp=0.0,
  )  # fmt: skip
  point_BTD = adversarial.start(jax.random.key(0), (1, 4, 3), 0.5, segments_BT)
  assert (adversarial.norm(point_BTD, segments_BT) <= 0.5).all()
  gradient_BTD = jnp.ones((1, 4, 3))
  for _ in range(3):
    point_BTD = adversarial.ascend(point_BTD, gradient_BTD, cfg, segments_BT)
  lengths = adversarial.norm(point_BTD, segments_BT)
  np.testing.assert_allclose(lengths, 0.5, rtol=1e-5)


def test_a_gradient_of_zero_makes_no_perturbation():
  scaled = jax.jit(adversarial.scaled, static_argnums=1)
  assert (scaled(jnp.zeros((1, 2, 3)), 10.0) == 0).all()
