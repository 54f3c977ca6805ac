"""A step with losses at exits is the weighted sum of losses of shallower models."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.model import exits, stacking
from gpt_jax.objectives import layer_skip, losses
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from tests import tiny_runs

VOCAB = objectives.Vocab(size=16)
SETTINGS = tiny_runs.SGD | {
  'objective.name': 'layer_skip',
  'objective.options.interval': 2,
  'objective.options.exit_scale': 1.0,
  'objective.options.layer_dropout': 0.0,
  'model.num_layers': 4,
  'model.d_model': 16,
  'objective.loss': 'plain',
}
STEP = 3
EIGHT = {'parallel.mesh.data': 2, 'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 2}


def build(overrides=None, devices=1):
  config = tiny_runs.tiny_config(SETTINGS | (overrides or {}))
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
  return build_program(config, vocab=VOCAB, mesh=mesh)


def batch(rows=8, width=17):
  rng = np.random.default_rng(0)
  is_text = np.arange(width)[None] < width - np.arange(rows)[:, None]
  return {
    'tokens': rng.integers(0, 16, (rows, width)).astype(np.int32),
    'segments': is_text.astype(np.int32),
    'positions': np.where(is_text, np.arange(width), 0).astype(np.int32),
  }


def start(program):
  """Returns the state before step STEP, from the same unrolled parameters for all."""
  params = common_params(program)
  state = program.init(0)
  params = jax.device_put(
    params, jax.tree.map(lambda leaf: leaf.sharding, state.params)
  )
  return state.replace(params=params, step=jnp.full_like(state.step, STEP))


def common_params(program):
  params = build().init(0).params
  params = jax.tree.map(lambda leaf: jax.device_get(leaf) * 3, params)
  if not program.config.model.scan_layers:
    params = stacking.unstack(params)
  return params


def one_step(program):
  """Returns (parameters after a step, its metrics, sums of an evaluation)."""
  state, rows = start(program), jax.device_put(batch(), program.batch_sharding)
  sums = program.evaluate(state.params, rows, 0)
  state, metrics = program.step(state, rows)
  params = stacking.unstack(jax.device_get(state.params))
  return tiny_runs.named(params), jax.device_get(metrics), jax.device_get(sums)


@pytest.fixture(scope='module')
def plain():
  program = build()
  return program, one_step(program)


def loss_of_depth(program, params, depth):
  """Returns the mean loss of the first `depth` layers, as a model of their own."""
  cfg = dataclasses.replace(program.model.cfg, num_layers=depth)
  first = exits.first_layers(cfg, params)
  example = program.objective(batch(), jax.random.key(0))
  inputs = example.inputs_BT, example.mask, example.positions_BT
  logits_BTV, _ = program.model.clone(cfg=cfg).apply({'params': first}, *inputs)
  sums = losses.cross_entropy(logits_BTV, example.targets_BT, example.weights_BT)
  return sums.objective_sum / sums.weight_sum


@pytest.mark.slow
def test_the_gradient_is_that_of_shallower_models_weighted(plain):
  program, (params_after, metrics, _) = plain
  options = program.config.objective.options
  weight_L = layer_skip.exit_weights(options, STEP, 6, 4)
  np.testing.assert_array_equal(weight_L > 0, [False, True, False, True])

  @jax.jit
  def objective(params):
    return sum(
      weight_L[depth - 1] * loss_of_depth(program, params, depth) for depth in (2, 4)
    )

  params = common_params(program)
  value, grads = jax.value_and_grad(objective)(params)
  np.testing.assert_allclose(metrics['objective'], value, rtol=1e-5)
  wanted = jax.tree.map(lambda p, g: p - np.asarray(g), params, grads)
  tiny_runs.assert_same(
    params_after, tiny_runs.named(stacking.unstack(wanted)), atol=1e-5
  )


@pytest.mark.slow
def test_metrics_are_those_of_the_last_layer_and_of_exits(plain):
  program, (_, metrics, sums) = plain
  params = common_params(program)
  loss = jax.jit(lambda params, depth: loss_of_depth(program, params, depth),
                 static_argnums=1)  # fmt: skip
  np.testing.assert_allclose(metrics['loss'], loss(params, 4), rtol=1e-5)
  np.testing.assert_allclose(metrics['exit_loss'], loss(params, 2), rtol=1e-5)
  found = program.objective.metrics(sums)
  for depth in (1, 2, 3):
    name = layer_skip.metric_name(depth)
    np.testing.assert_allclose(found[name], loss(params, depth), rtol=1e-5)
  np.testing.assert_allclose(found['loss'], loss(params, 4), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
  'overrides, devices',
  [
    ({'model.scan_layers': False}, 1),
    ({'model.remat': 'full'}, 1),
    ({'train.grad_accum': 4}, 1),
    ({'objective.loss': 'fused'}, 1),
    ({'objective.loss': 'fused'} | EIGHT, 8),
    (EIGHT | {'model.remat': 'full'}, 8),
  ],
)
def test_every_way_to_run_it_takes_the_same_step(plain, overrides, devices):
  _, wanted = plain
  found = one_step(build(overrides, devices))
  tiny_runs.assert_same(found[0], wanted[0], atol=2e-5)
  for mine, other in zip(found[1:], wanted[1:], strict=True):
    tiny_runs.assert_same(tiny_runs.named(mine), tiny_runs.named(other), rtol=1e-4)


@pytest.mark.slow
def test_layer_dropout_changes_training_and_not_evaluation(plain):
  _, (_, metrics, sums) = plain
  dropped = {
    'objective.options.layer_dropout': 0.9,
    'objective.options.dropout_curriculum': 'constant',
  }
  _, found, found_sums = one_step(build(dropped))
  assert abs(found['loss'] - metrics['loss']) > 1e-3
  tiny_runs.assert_same(tiny_runs.named(found_sums), tiny_runs.named(sums))
