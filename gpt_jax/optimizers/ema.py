"""The exponential moving average of the parameters, for evaluation and sampling."""

import jax
import jax.numpy as jnp
import optax


def ema_init(params):
  """Returns the average at step 0: a float32 copy of `params` with their sharding."""
  # float32: at decay 0.999 the updates of a bfloat16 average would round to nothing.
  return jax.tree.map(lambda param: jnp.array(param, jnp.float32, copy=True), params)


def ema_update(ema, params, decay, step):
  """Returns the average after `step` (from 0), which resulted in `params`."""
  # The smaller decay of the first steps lets the average forget the initial parameters.
  decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return optax.incremental_update(params, ema, 1.0 - decay)
