"""Optimizers of half-precision parameters: state and arithmetic in float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from gpt_jax import optimizers
from gpt_jax.config import load
from gpt_jax.optimizers.precision import in_float32

CFG = load.resolve(base.get_config()).optimizer
HALF = pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])


def layer(dtype, seed=0):
  kernel = np.random.default_rng(seed).normal(size=(128, 130))
  return {'layers_0': {'mlp': {'up': {'kernel': jnp.asarray(kernel, dtype)}}}}


def optimizer(name, params):
  cfg = dataclasses.replace(CFG, name=name)
  return optimizers.make_optimizer(cfg, lambda step: 1.0, params)


@HALF
@pytest.mark.parametrize('name', sorted(optimizers.OPTIMIZERS))
def test_states_and_updates_are_float32(name, dtype):
  params = jax.eval_shape(lambda: layer(dtype))
  transform = optimizer(name, params)
  state = jax.eval_shape(transform.init, params)
  updates, after = jax.eval_shape(transform.update, params, state, params)
  for leaf in jax.tree.leaves((state, updates, after)):
    assert leaf.dtype in (jnp.float32, jnp.int32)
  new = jax.eval_shape(optax.apply_updates, params, updates)
  assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype(dtype)}


@HALF
def test_an_update_is_that_of_the_same_numbers_in_float32(dtype):
  params, gradients = layer(dtype), layer(dtype, seed=1)
  wide = [jax.tree.map(lambda x: x.astype(jnp.float32), t) for t in (gradients, params)]
  transform = optimizer('adamw', params)

  @jax.jit
  def update(gradients, params):
    return transform.update(gradients, transform.init(params), params)[0]

  jax.tree.map(np.testing.assert_array_equal, update(gradients, params), update(*wide))


def second_moment(transform, steps):
  """Returns Adam's second moment of a bfloat16 weight after gradients of 1."""
  one = jnp.ones((), jnp.bfloat16)
  state = jax.lax.fori_loop(
    0, steps, lambda _, s: transform.update(one, s, one)[1], transform.init(one)
  )
  return float(state.nu)


def test_a_second_moment_does_not_stand_still():
  adam = optax.scale_by_adam(0.9, 0.999)
  wide = in_float32(adam)
  for steps in (1000, 5000):
    want = 1 - 0.999**steps
    assert second_moment(wide, steps) == pytest.approx(want, rel=1e-4)
  # In bfloat16 its steps round to nothing at half of the mean square, 1.
  assert second_moment(adam, 5000) == second_moment(adam, 1000) == 0.5


def test_a_gradient_of_zero_moves_no_float16_weight():
  weight = jnp.ones((), jnp.float16)
  adam = optax.scale_by_adam(0.9, 0.95, eps=1e-8)
  zero = jnp.zeros_like(weight)
  assert np.isnan(adam.update(zero, adam.init(weight), weight)[0])  # 0 / (0 + 0)
  wide = in_float32(adam)
  assert wide.update(zero, wide.init(weight), weight)[0] == 0
