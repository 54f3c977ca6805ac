"""The subtree of parameters that trains: what gradients and optimizer states are of.

A frozen leaf is None there, no leaf to jax: nothing is computed or kept for it.
"""

import optax

from gpt_jax.core import pytree


def select(tree, frozen):
  """Returns `tree` with None in place of the leaves whose names are in `frozen`."""
  return pytree.map_named(lambda name, leaf: None if name in frozen else leaf, tree)


def merge(trained, tree):
  """Returns `tree` with the leaves that the subtree `trained` has."""
  leaves = dict(pytree.named_leaves(trained))
  return pytree.map_named(lambda name, leaf: leaves.get(name, leaf), tree)


def as_partition(transform):
  """Returns `transform` with its state where `optax.partition` puts it."""
  # Runs with frozen parameters have saved it there since the first edition.

  def pack(state):
    frozen = optax.MaskedState(optax.EmptyState())
    return optax.transforms.PartitionState(
      {'frozen': frozen, 'trained': optax.MaskedState(state)}
    )

  def init(params):
    return pack(transform.init(params))

  def update(updates, state, params=None):
    inner = state.inner_states['trained'].inner_state
    updates, inner = transform.update(updates, inner, params)
    return updates, pack(inner)

  return optax.GradientTransformation(init, update)
