"""Saved arrays against wanted ones, by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.checkpoints.tree_diff import differences


def place(tree, spec=()):
  mesh = Mesh(np.asarray(jax.devices()), ('data',))
  sharding = NamedSharding(mesh, PartitionSpec(*spec))
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
    jax.eval_shape(lambda: tree),
  )


SAVED = {'block': {'kernel': jnp.zeros((4, 8)), 'bias': jnp.zeros(8)}}


def test_equal_trees_do_not_differ():
  assert differences(SAVED, place(SAVED), 'params') == []


@pytest.mark.parametrize(
  ('kernel', 'line'),
  [
    (
      jnp.zeros((4, 16)),
      'params/block/kernel: saved float32[4, 8], wanted float32[4, 16]',
    ),
    (
      jnp.zeros((4, 8), jnp.bfloat16),
      'params/block/kernel: saved float32[4, 8], wanted bfloat16[4, 8]',
    ),
    (jnp.zeros(8), 'params/block/kernel: saved float32[4, 8], wanted float32[8]'),
    (None, 'params/block/kernel: saved float32[4, 8], wanted nothing'),
  ],
)
def test_shape_and_dtype_are_compared(kernel, line):
  wanted = place({'block': SAVED['block'] | {'kernel': kernel}})
  assert differences(SAVED, wanted, 'params') == [line]


def test_a_renamed_array_is_guessed():
  wanted = place({'block': {'kernels': jnp.zeros((4, 8)), 'bias': jnp.zeros(8)}})
  assert differences(SAVED, wanted, 'params') == [
    'params/block/kernel: saved float32[4, 8], not wanted',
    'params/block/kernels: not saved, wanted float32[4, 8]'
    ' (saved as params/block/kernel?)',
  ]


def test_a_key_is_compared_by_the_words_it_is_saved_as():
  assert (
    differences({'k': jnp.zeros(2, 'uint32')}, place({'k': jax.random.key(0)}), 'a')
    == []
  )


def test_optimizer_states_without_arrays_are_compared_too():
  saved = [None, {'count': jnp.zeros((), int)}]
  wanted = (optax.EmptyState(), {'count': jnp.zeros((), int)})
  assert differences(saved, place(wanted), 'o') == []
  assert differences(saved, place((*wanted, optax.EmptyState())), 'o') == [
    'o/2: not saved, wanted nothing'
  ]


def test_a_sharding_that_does_not_divide_is_named():
  (line,) = differences(
    {'a': jnp.zeros(12)}, place({'a': jnp.zeros(12)}, ('data',)), 'p'
  )
  assert line.startswith('p/a: ') and '12' in line and '8' in line
