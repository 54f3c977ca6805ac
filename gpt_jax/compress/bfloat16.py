"""All parameters rounded to bfloat16: half of float32, and no loss to speak of."""

import jax
import jax.numpy as jnp

from gpt_jax.compress.method import Compressed
from gpt_jax.core.errors import ConfigError


def compress(given):
  """Returns the Compressed model; ConfigError where it is in 16 bits already."""
  if given.config.model.param_dtype != 'float32':
    raise ConfigError(
      f'--method=bfloat16: model.param_dtype={given.config.model.param_dtype!r} is as'
      ' small already.'
    )
  params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), given.params)
  return Compressed(params, {'model.param_dtype': 'bfloat16'})
