"""Norms of parameters, gradients and updates, by name and by layer, on demand."""

import jax.numpy as jnp

from gpt_jax.core import pytree


def by_layer(trees):
  """Returns `{kind/name: norm}` of `{kind: tree}`; stacked leaves have one a layer."""
  return {
    f'{kind}/{name}': _norm(name, leaf)
    for kind, tree in trees.items()
    for name, leaf in pytree.named_leaves(tree)
  }


def flatten(norms):
  """Returns plain floats by name; entry i of a stacked leaf becomes `name/i`."""
  flat = {}
  for name, value in norms.items():
    if value.ndim:
      flat |= {f'{name}/{i}': float(part) for i, part in enumerate(value)}
    else:
      flat[name] = float(value)
  return flat


def _norm(name, leaf):
  squares = jnp.square(leaf.astype(jnp.float32))
  is_stacked = name.startswith('layers/')
  axes = tuple(range(1, leaf.ndim)) if is_stacked else None
  return jnp.sqrt(jnp.sum(squares, axis=axes))
