"""L2-SP: fine-tuned parameters stay near where they started, arXiv:1802.01483, eq. 3.

  loss + weight |w - w0|^2 / 2

w0 are the parameters taken from `init_from`, and 0 for those that are fresh, such as
those of a new head. The train state keeps them, so a resumed run has the same ones.
"""

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree


def fresh_start(trained):
  """Returns w0 where no parameter was taken from elsewhere."""
  return jax.tree.map(jnp.zeros_like, trained)


def start_of(trained, fresh):
  """Returns w0 of the parameters `trained`; `fresh`: the names of those not taken."""
  # Copies: the step donates its state, in which no array may stand twice.
  return pytree.map_named(
    lambda name, leaf: jnp.zeros_like(leaf) if name in fresh else jnp.copy(leaf),
    trained,
  )


def add(weight, gradients, trained, start):
  """Returns (the penalty, float32; `gradients` with its own)."""

  def difference(param, first):
    return param.astype(jnp.float32) - first.astype(jnp.float32)

  moved = jax.tree.map(difference, trained, start)
  squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(moved)]
  gradients = jax.tree.map(
    lambda gradient, leaf: gradient + (weight * leaf).astype(gradient.dtype),
    gradients,
    moved,
  )
  return 0.5 * weight * sum(squares), gradients
