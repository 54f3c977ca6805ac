"""Adafactor: factored second moments. arXiv:1804.04235."""

import re

import jax
import optax

from gpt_jax.core import pytree
from gpt_jax.optimizers.elementwise import one_rate
from gpt_jax.optimizers.mup import by_width

_STACKED = re.compile(r'(^|/)layers/')


@by_width({'hidden': -0.5, 'query': -1}, shown={'query': 1})
def make(cfg, names):
  """Returns Adafactor's direction, scaled by the RMS of each parameter.

  That RMS is at least 1e-3, so learning rates near 1e-2 fit. No momentum; b1, b2 and
  eps are not used. Parameters with two dimensions of 128 or more are factored.
  """
  direction = optax.chain(
    optax.scale_by_factored_rms(),
    optax.clip_by_block_rms(1.0),
    optax.scale_by_param_block_rms(),
  )

  def label(name, _):
    return 'stacked' if _STACKED.search(name) else 'single'

  by_stacking = optax.partition(
    {'stacked': per_layer(direction), 'single': direction},
    lambda tree: pytree.map_named(label, tree),
  )
  return by_stacking, one_rate(cfg, names)


def per_layer(transform):
  """Returns `transform` mapped over the leading axis, that of layers."""
  # Norms over a stack would couple its layers, and the largest two dimensions of a
  # stack may be a pair that no single layer has.

  def init(params):
    return jax.vmap(transform.init)(params) if jax.tree.leaves(params) else ()

  def update(updates, state, params=None):
    if not jax.tree.leaves(updates):
      return updates, state
    return jax.vmap(transform.update)(updates, state, params)

  return optax.GradientTransformation(init, update)
