"""An exponential moving average of the parameters, which evaluation may use."""

import jax
import jax.numpy as jnp
import optax


def ema_init(params):
  """Returns the average at step 0: a float32 copy of `params` with their sharding.

  float32 whatever the parameters are: at decay 0.999 an average in bfloat16 would
  stand still.
  """
  return jax.tree.map(lambda param: jnp.array(param, jnp.float32, copy=True), params)


def ema_update(ema, params, decay, step):
  """Returns the average after `step` (from 0) has made `params`.

  Early on the decay is (1 + step) / (10 + step), so that the average soon forgets the
  initial parameters; later it is `decay`.
  """
  decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return optax.incremental_update(params, ema, 1.0 - decay)
