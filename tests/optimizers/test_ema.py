"""The exponential moving average of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.optimizers import ema_init, ema_update


def test_the_average_is_float32_sharded_as_the_parameters():
  mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
  sharding = jax.NamedSharding(mesh, jax.P('data'))
  params = {'w': jax.device_put(jnp.arange(16, dtype=jnp.bfloat16), sharding)}
  ema = ema_init(params)
  assert ema['w'].dtype == jnp.float32 and ema['w'].sharding == sharding
  new = jax.jit(ema_update)(ema, params, 0.9, 3)
  assert new['w'].dtype == jnp.float32
  assert new['w'].sharding.is_equivalent_to(sharding, 1)


def test_the_copy_outlives_donated_parameters():
  params = {'w': jnp.ones(4)}
  ema = ema_init(params)
  jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)(params)
  np.testing.assert_array_equal(ema['w'], np.ones(4))


def test_late_steps_average_with_the_given_decay():
  ema, params = {'w': jnp.zeros(2)}, {'w': jnp.array([1.0, 2.0])}
  for _ in range(3):
    ema = ema_update(ema, params, 0.9, step=10_000)
  np.testing.assert_allclose(ema['w'], (1 - 0.9**3) * np.array([1, 2]), rtol=1e-6)


def test_early_steps_forget_the_initial_parameters():
  ema = ema_update({'w': jnp.zeros(1)}, {'w': jnp.ones(1)}, 0.999, step=0)
  np.testing.assert_allclose(ema['w'], 0.9, rtol=1e-6)
  # Decays (1 + t) / (10 + t) leave 1/10 * 2/11 * 3/12 * ... of the start.
  ema = {'w': jnp.ones(1)}
  for step in range(20):
    ema = ema_update(ema, {'w': jnp.zeros(1)}, 0.999, step)
  assert float(ema['w'][0]) < 1e-6
