"""Norms of parameters, gradients and updates, by name and by layer, on demand."""

import jax
import jax.numpy as jnp
import optax

from gpt_jax.core import pytree
from gpt_jax.core.matmul import sum_dtype


def by_layer(trees):
  """Returns `{kind/name: norm}` of `{kind: tree}`; stacked leaves have one a layer."""
  return {
    f'{kind}/{name}': _norm(name, leaf)
    for kind, tree in trees.items()
    for name, leaf in pytree.named_leaves(tree)
    if jnp.issubdtype(leaf.dtype, jnp.floating)  # the codes of a base have no norm
  }


def total(tree):
  """Returns the norm over all leaves of `tree`, summed in float32."""
  # In float16 the square of 1e-4 is 0, that of 300 infinite.
  return optax.tree.norm(jax.tree.map(lambda leaf: leaf.astype(sum_dtype(leaf)), tree))


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
