"""Parameter trees by name."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core import pytree


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Pair:
  left: object
  right: object


TREE = {
  'layers': {'block_0': {'kernel': np.zeros((2, 3)), 'bias': np.zeros(3)}},
  'rest': [np.zeros(1), Pair(np.zeros(4), np.zeros((5, 0)))],
}
NAMES = [
  'layers/block_0/bias',
  'layers/block_0/kernel',
  'rest/0',
  'rest/1/left',
  'rest/1/right',
]


def test_names_follow_keys_indices_and_fields():
  assert [name for name, _ in pytree.named_leaves(TREE)] == NAMES


def test_mapping_by_name_keeps_the_structure():
  mapped = pytree.map_named(lambda name, leaf: name, TREE)
  assert jax.tree.leaves(mapped) == NAMES
  assert jax.tree.structure(mapped) == jax.tree.structure(TREE)


def test_mapping_reads_other_trees_along():
  sums = pytree.map_named(lambda name, a, b: a + b, {'x': 1}, {'x': 2})
  assert sums == {'x': 3}


@pytest.mark.parametrize(
  'pattern,number', [('bias$', 1), ('layers', 2), ('^rest/1', 2), ('', 5), ('zzz', 0)]
)
def test_patterns_are_searched_in_whole_names(pattern, number):
  assert sum(jax.tree.leaves(pytree.matches(TREE, pattern))) == number


def test_counts_and_sizes_are_exact_beyond_int64():
  assert pytree.count(TREE) == 6 + 3 + 1 + 4
  huge = {'embedding': jax.ShapeDtypeStruct((2**40, 2**30), jnp.bfloat16)}
  assert pytree.count(huge) == 2**70
  assert pytree.size_bytes(huge) == 2**71
  assert pytree.size_bytes({'x': np.zeros(3, np.float64)}) == 24


def test_two_numbers_of_four_bits_share_a_byte():
  codes = jax.ShapeDtypeStruct((3, 3), jnp.uint4)
  assert pytree.size_bytes({'codes': codes}) == 5
  compiled = jax.jit(lambda x: x + 1).lower(codes).compile()
  assert compiled.memory_analysis().argument_size_in_bytes in (5, 8)  # or aligned
