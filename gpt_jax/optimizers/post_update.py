"""What is done to the parameters after each update, on the device.

An entry is `make(config, params) -> (params, before, step) -> params`: `config` is the
whole Config, the first `params` are shapes, `before` are the parameters that the step
started from, `step` counts from 0. It runs before the moving average takes the result.
A skipped step and frozen parameters are not touched, whatever it returns.
"""

import jax.numpy as jnp

from gpt_jax.core import pytree, registry
from gpt_jax.optimizers.groups import MATRIX_NAMES


def keep_zeros(config, params):
  """Returns the hook that keeps the zeros of kernels and embeddings: a pruned model."""
  del config, params

  def apply(params, before, step):
    del step
    return pytree.map_named(_masked, params, before)

  return apply


def _masked(name, new, old):
  # A bias starts at zero, and may leave it.
  if name.split('/')[-1] not in MATRIX_NAMES:
    return new
  return jnp.where(old == 0, jnp.zeros_like(new), new)


POST_UPDATES = {'keep_zeros': keep_zeros}


def make_post_update(config, params):
  """Returns the hook of `optimizer.post_update`, None for ''."""
  name = config.optimizer.post_update
  if not name:
    return None
  return registry.lookup(POST_UPDATES, name, 'optimizer.post_update')(config, params)
