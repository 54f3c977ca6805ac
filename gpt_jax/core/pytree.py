"""Parameter trees by name: paths, sizes, selection by regular expression."""

import math
import re

import jax
import numpy as np


def path_name(path):
  """Returns a jax key path as `layers/block_0/attention/query/kernel`."""
  return '/'.join(
    str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k)))) for k in path
  )


def named_leaves(tree):
  """Returns `[(name, leaf), ...]` in tree order."""
  return [(path_name(p), leaf) for p, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def map_named(function, tree, *rest):
  """Returns `tree` with each leaf replaced by `function(name, leaf, *rest_leaves)`."""
  return jax.tree_util.tree_map_with_path(
    lambda path, *leaves: function(path_name(path), *leaves), tree, *rest
  )


def nested(leaves):
  """Returns the dicts in dicts of `{'a/b': leaf}`."""
  tree = {}
  for name, leaf in leaves.items():
    *parents, last = name.split('/')
    node = tree
    for part in parents:
      node = node.setdefault(part, {})
    node[last] = leaf
  return tree


def matches(tree, pattern):
  """Returns a tree of bools: whether each leaf's name contains `pattern`."""
  compiled = re.compile(pattern)
  return map_named(lambda name, _: compiled.search(name) is not None, tree)


def count(tree):
  """Returns how many numbers the leaves of `tree` hold, as an exact int."""
  return sum(int(np.prod(leaf.shape, dtype=object)) for leaf in jax.tree.leaves(tree))


def size_bytes(tree):
  """Returns the bytes that the leaves of `tree` take, as an exact int."""
  return sum(array_bytes(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))


def array_bytes(shape, dtype):
  """Returns the bytes of an array as XLA lays it out, an exact int."""
  # Two of 4 bits share a byte there, whatever `itemsize` says of one in numpy.
  return -(-math.prod(map(int, shape)) * jax.dtypes.itemsize_bits(dtype) // 8)
