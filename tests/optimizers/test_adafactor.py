"""Adafactor: factored state and relative steps, per layer."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import base
from gpt_jax.config import load
from gpt_jax.optimizers import adafactor

CFG = load.resolve(base.get_config()).optimizer


@functools.partial(jax.jit, static_argnums=0)
def first_update(direction, gradients, params):
  return direction.update(gradients, direction.init(params), params)[0]


def test_the_state_is_a_row_and_a_column_per_layer():
  shapes = {'layers': {'up': {'kernel': jax.ShapeDtypeStruct((300, 128, 256), 'f4')}}}
  direction, rates = adafactor.make(CFG, ['layers/up/kernel'])
  assert rates == {'layers/up/kernel': CFG.learning_rate}
  state = jax.eval_shape(direction.init, shapes)
  # Each layer: row, column, count, a placeholder; and the count of lone parameters.
  assert sum(leaf.size for leaf in jax.tree.leaves(state)) == 300 * (128 + 256 + 2) + 1


def test_a_step_is_relative_to_the_rms_of_each_layer():
  rng = np.random.default_rng(0)
  params = {'layers': {'up': {'kernel': jnp.asarray(rng.normal(size=(2, 4, 4)))}}}
  params = jax.tree.map(lambda p: p * jnp.array([1.0, 100.0])[:, None, None], params)
  direction, _ = adafactor.make(CFG, ['layers/up/kernel'])
  gradients = jax.tree.map(jnp.ones_like, params)
  update = first_update(direction, gradients, params)
  size = jnp.sqrt(jnp.square(params['layers']['up']['kernel']).mean(axis=(1, 2)))
  got = jnp.sqrt(jnp.square(update['layers']['up']['kernel']).mean(axis=(1, 2)))
  np.testing.assert_allclose(got, size, rtol=1e-5)


def test_per_layer_is_one_transformation_for_each_layer():
  transform = adafactor.per_layer(optax.clip_by_global_norm(1.0))
  stack = {'kernel': jnp.array([[3.0, 4.0], [0.3, 0.4]])}
  update, _ = transform.update(stack, transform.init(stack), stack)
  np.testing.assert_allclose(update['kernel'], [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
  assert transform.update({}, transform.init({}), {})[0] == {}


def test_adam_settings_are_not_used():
  other = dataclasses.replace(CFG, b1=0.5, b2=0.5, eps=0.1)
  params = {'final_norm': {'scale': jnp.arange(1.0, 5.0)}}
  for cfg in (CFG, other):
    direction, _ = adafactor.make(cfg, ['final_norm/scale'])
    update = first_update(direction, params, params)
    rms = jnp.sqrt(jnp.square(params['final_norm']['scale']).mean())
    np.testing.assert_allclose(
      update['final_norm']['scale'], rms * jnp.ones(4), rtol=1e-5
    )
