"""The subtree that trains: taken out and put back, with its state where it was."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gpt_jax.core import pytree
from gpt_jax.optimizers import trainable

PARAMS = {'a': {'x': np.ones(2), 'y': np.zeros(3)}, 'b': np.arange(4.0)}


def test_what_is_frozen_is_no_leaf_and_comes_back():
  trained = trainable.select(PARAMS, {'a/x'})
  assert [name for name, _ in pytree.named_leaves(trained)] == ['a/y', 'b']
  merged = trainable.merge(jax.tree.map(lambda x: x + 1, trained), PARAMS)
  assert merged['a']['x'] is PARAMS['a']['x']
  np.testing.assert_array_equal(merged['b'], PARAMS['b'] + 1)


def test_states_have_the_names_that_partition_gave_them():
  labels = {'a': {'x': 'frozen', 'y': 'trained'}, 'b': 'trained'}
  adam = optax.chain(optax.scale_by_adam(), optax.scale(-0.1))
  partition = optax.partition({'trained': adam, 'frozen': optax.set_to_zero()}, labels)
  params = jax.tree.map(jnp.asarray, PARAMS)
  trained = trainable.select(params, {'a/x'})
  old, new = partition.init(params), trainable.as_partition(adam).init(trained)
  shapes = [
    [(name, leaf.shape) for name, leaf in pytree.named_leaves(state)]
    for state in (old, new)
  ]
  assert shapes[0] == shapes[1]
  updates, _ = partition.update(params, old, params)
  ours, _ = trainable.as_partition(adam).update(trained, new, trained)
  np.testing.assert_array_equal(ours['b'], updates['b'])
