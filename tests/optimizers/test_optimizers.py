"""The contract of every entry of OPTIMIZERS: clipping, decay, groups, stacking."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from gpt_jax import optimizers
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import stacking
from gpt_jax.optimizers import trainable

CFG = load.resolve(base.get_config()).optimizer
EVERY = pytest.mark.parametrize('name', sorted(optimizers.OPTIMIZERS))


def config(name='adamw', **fields):
  values = dict(name=name, weight_decay=0.0, clip_norm=0.0) | fields
  return dataclasses.replace(CFG, **values)


def tree(seed=0, num_layers=2):
  """Returns parameters named and shaped like the model's, layers stacked."""
  shapes = {
    'embed/embedding': (11, 8),
    'layers/block_0/attention/query/kernel': (num_layers, 8, 2, 4),
    'layers/block_0/attention/query/bias': (num_layers, 2, 4),
    'layers/block_0/attention/out/kernel': (num_layers, 2, 4, 8),
    'layers/block_0/attention_norm/scale': (num_layers, 8),
    'layers/block_0/mlp/up/kernel': (num_layers, 8, 12),
    'layers/block_0/mlp/up/bias': (num_layers, 12),
    'final_norm/scale': (8,),
    'head/kernel': (8, 11),
  }
  result = {}
  for i, (name, shape) in enumerate(shapes.items()):
    *path, last = name.split('/')
    node = result
    for part in path:
      node = node.setdefault(part, {})
    node[last] = np.random.default_rng([seed, i]).normal(size=shape).astype(np.float32)
  return result


def run(transform, params, num_steps=3):
  """Returns `params` after steps on fixed random gradients, in one jitted loop."""

  def step(i, carry):
    params, state = carry
    # The same gradient for a layer, whether it is stacked or not.
    gradients = jax.tree.map(lambda p: jnp.sin(7 * p + i), params)
    updates, state = transform.update(gradients, state, params)
    return optax.apply_updates(params, updates), state

  @jax.jit
  def loop(params):
    carry = (params, transform.init(params))
    return jax.lax.fori_loop(0, num_steps, step, carry)[0]

  return loop(params)


def one_update(transform, gradients, params):
  @jax.jit
  def update(gradients, params):
    return transform.update(gradients, transform.init(params), params)[0]

  return update(gradients, params)


def halving(step):
  return 0.5**step


def assert_close(got, want, rtol=1e-5, atol=1e-6):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), got, want
  )


def rate(step):
  return 1e-2 * halving(step)


PLAIN = {
  'adamw': lambda: optax.adamw(rate, 0.9, 0.95, 1e-8, weight_decay=0.0),
  'adafactor': lambda: optax.adafactor(rate),
  'lion': lambda: optax.lion(rate, 0.9, 0.95, weight_decay=0.0),
  # optax gives its Adam part Nesterov momentum too; without it the two agree.
  'muon': lambda: optax.contrib.muon(rate, beta=0.95, nesterov=False, adam_b2=0.95),
  'sgd': lambda: optax.sgd(rate, 0.95),
}


@pytest.mark.parametrize('name', sorted(PLAIN))
def test_without_extras_it_equals_the_optimizer_of_optax(name):
  """Two plain layers: one matrix each, which Muon and Adafactor treat as optax does."""
  rng = np.random.default_rng(0)
  params = {
    'layers_0': {'mlp': {'up': {'kernel': jnp.asarray(rng.normal(size=(128, 130)))}}},
    'final_norm': {'scale': jnp.asarray(rng.normal(size=(8,)))},
  }
  cfg = config(name, learning_rate=1e-2, muon_learning_rate=1e-2, nesterov=False)
  got = run(optimizers.make_optimizer(cfg, halving, params), params)
  assert_close(got, run(PLAIN[name](), params))


def test_every_entry_is_compared_with_optax():
  assert sorted(PLAIN) == sorted(optimizers.OPTIMIZERS)


@pytest.mark.slow
@EVERY
def test_stacking_layers_changes_nothing(name):
  params = tree(num_layers=3)
  # Large enough for Adafactor to factor a layer, and tempting to factor the stack.
  wide = np.random.default_rng(1).normal(size=(3, 128, 129)).astype(np.float32)
  wide *= np.array([0.1, 1, 10], np.float32)[:, None, None]
  params['layers']['block_0']['mlp']['up']['kernel'] = wide
  cfg = config(name, weight_decay=0.1)
  stacked = run(optimizers.make_optimizer(cfg, halving, params), params)
  apart = stacking.unstack(params)
  apart = run(optimizers.make_optimizer(cfg, halving, apart), apart)
  # Muon's iterations amplify rounding between a batched and a single matmul.
  tolerance = 2e-4 if name == 'muon' else 1e-6
  assert_close(stacked, stacking.stack(apart), atol=tolerance)


@EVERY
def test_the_loss_of_a_quadratic_falls(name):
  goal = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)), jnp.float32)
  params = {'layers_0': {'mlp': {'up': {'kernel': goal + 1.0}}}}
  cfg = config(name, learning_rate=0.05, muon_learning_rate=0.05, momentum=0.5)
  transform = optimizers.make_optimizer(cfg, lambda step: 1.0, params)

  def loss(params):
    return jnp.sum(jnp.square(params['layers_0']['mlp']['up']['kernel'] - goal))

  def step(carry, _):
    params, state = carry
    value, gradients = jax.value_and_grad(loss)(params)
    updates, state = transform.update(gradients, state, params)
    return (optax.apply_updates(params, updates), state), value

  carry = (params, transform.init(params))
  losses = jax.jit(lambda carry: jax.lax.scan(step, carry, length=100)[1])(carry)
  assert losses[-1] < 0.2 * losses[0]


@EVERY
def test_the_state_has_abstract_shapes_and_can_be_donated(name):
  frozen = dict(match='embed', freeze=True)
  transform = optimizers.make_optimizer(
    config(name, groups=(frozen,)), halving, jax.eval_shape(tree)
  )
  params = trainable.select(tree(), ['embed/embedding'])
  abstract = jax.eval_shape(lambda: params)
  shapes = jax.eval_shape(transform.init, abstract)
  state = jax.jit(transform.init)(params)
  assert jax.tree.structure(shapes) == jax.tree.structure(state)
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))

  def step(state, params):
    updates, state = transform.update(params, state, params)
    return state, optax.apply_updates(params, updates)

  new_shapes = jax.eval_shape(step, shapes, abstract)[0]
  assert jax.tree.all(
    jax.tree.map(
      lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), shapes, new_shapes
    )
  )
  leaves = jax.tree.leaves(state)
  jax.jit(step, donate_argnums=0)(state, params)
  # A few scalars and constants may be kept; nothing of a parameter's size is copied.
  assert all(leaf.is_deleted() for leaf in leaves if leaf.size > 16)


@EVERY
def test_frozen_parameters_have_no_state_and_do_not_move(name):
  params = tree()
  groups = (dict(match='^layers/', freeze=True), dict(match='final', freeze=True))
  cfg = config(name, weight_decay=0.1, clip_norm=1.0, groups=groups)
  transform = optimizers.make_optimizer(cfg, halving, params)
  frozen = [name for name, _ in pytree.named_leaves(params) if is_frozen(name)]
  subtree = trainable.select(params, frozen)
  new = trainable.merge(run(transform, subtree), params)
  for name_, leaf in pytree.named_leaves(new):
    old = dict(pytree.named_leaves(params))[name_]
    assert np.array_equal(leaf, old) == is_frozen(name_), name_
  trained = {key: params[key] for key in ('embed', 'head')}
  alone = optimizers.make_optimizer(
    dataclasses.replace(cfg, groups=()), halving, trained
  )
  # The norm that clips is that of trained parameters: freezing equals leaving out.
  assert_close({key: new[key] for key in trained}, run(alone, trained))
  # Where optax.partition keeps it, so that older checkpoints are restored.
  state = transform.init(subtree)
  trained_state = state.inner_states['trained'].inner_state
  assert [leaf.shape for leaf in jax.tree.leaves(trained_state)] == [
    leaf.shape for leaf in jax.tree.leaves(alone.init(trained))
  ]
  assert not jax.tree.leaves(state.inner_states['frozen'])


def is_frozen(name):
  return name.startswith(('layers', 'final'))


def test_decay_equals_adamw_of_optax_with_a_mask():
  params = tree()
  mask = pytree.map_named(
    lambda name, _: name.endswith(('kernel', 'embedding')), params
  )
  want = optax.adamw(
    lambda step: 1e-3 * halving(step), 0.9, 0.95, weight_decay=0.1, mask=mask
  )
  cfg = config(weight_decay=0.1, learning_rate=1e-3)
  assert_close(
    run(optimizers.make_optimizer(cfg, halving, params), params), run(want, params)
  )


@pytest.mark.parametrize('name', ['adamw', 'muon'])
def test_independent_decay_is_coupled_decay_divided_by_the_rate(name):
  params = {'layers': tree()['layers']}
  rates = dict(learning_rate=2e-3, muon_learning_rate=2e-3)
  independent = config(
    name, weight_decay=1e-4, weight_decay_mode='independent', **rates
  )
  coupled = config(name, weight_decay=1e-4 / 2e-3, **rates)
  got = run(optimizers.make_optimizer(independent, halving, params), params)
  assert_close(got, run(optimizers.make_optimizer(coupled, halving, params), params))
  plain = run(optimizers.make_optimizer(config(name, **rates), halving, params), params)
  changed = jax.tree.map(lambda a, b: np.abs(a - b).max() > 1e-5, got, plain)
  assert jax.tree.reduce(lambda a, b: a or b, changed)


def test_independent_decay_shrinks_by_the_schedule_alone():
  params = tree()
  cfg = config(
    'sgd', learning_rate=1e-30, weight_decay=0.25, weight_decay_mode='independent',
    decay_mask='all',
  )  # fmt: skip
  got = run(optimizers.make_optimizer(cfg, halving, params), params)
  shrunk = (1 - 0.25) * (1 - 0.125) * (1 - 0.0625)
  assert_close(got, jax.tree.map(lambda leaf: shrunk * leaf, params))


def test_clipping_is_by_the_global_norm():
  params = tree()
  cfg = config('sgd', momentum=0.0, learning_rate=1.0, clip_norm=0.5)
  transform = optimizers.make_optimizer(cfg, lambda step: 1.0, params)
  gradients = jax.tree.map(lambda leaf: 3.0 * leaf, params)
  updates = one_update(transform, gradients, params)
  squares = [
    np.square(leaf).sum() for leaf in map(np.asarray, jax.tree.leaves(updates))
  ]
  np.testing.assert_allclose(sum(squares), 0.25, rtol=1e-5)
  small = jax.tree.map(lambda leaf: np.float32(1e-3) * leaf, params)
  updates = one_update(transform, small, params)
  assert_close(updates, jax.tree.map(lambda leaf: -leaf, small))


def test_a_group_scales_its_learning_rate():
  params = tree()
  group = dict(match='head', learning_rate_scale=0.5)
  base_cfg = config('sgd', momentum=0.0, learning_rate=1.0)
  moved = {}
  for groups in ((), (group,)):
    cfg = dataclasses.replace(base_cfg, groups=groups)
    transform = optimizers.make_optimizer(cfg, lambda step: 1.0, params)
    moved[groups == ()] = one_update(transform, params, params)
  want = moved[True] | {'head': {'kernel': 0.5 * moved[True]['head']['kernel']}}
  assert_close(moved[False], want)


def test_a_misspelt_optimizer_names_the_nearest_one():
  with pytest.raises(ConfigError, match="did you mean 'adamw'"):
    optimizers.make_optimizer(config('adam'), halving, tree())
