"""Names of scanned and of unrolled layers are the same parameters."""

import numpy as np

from gpt_jax.peft import layer_names


def test_stacks_come_apart_and_together():
  stack = np.arange(6.0).reshape(3, 2)
  leaves = {'layers/block_0/bias': stack, 'embed/embedding': np.zeros(2)}
  found = layer_names.unrolled_leaves(leaves)
  assert sorted(found) == ['embed/embedding'] + [
    f'layers_{i}/block_0/bias' for i in range(3)
  ]
  np.testing.assert_array_equal(found['layers_2/block_0/bias'], stack[2])
  again = layer_names.stacked_leaves(found)
  assert again.keys() == leaves.keys()
  np.testing.assert_array_equal(again['layers/block_0/bias'], stack)


def test_more_than_ten_layers_keep_their_order():
  stack = np.arange(12.0)[:, None]
  leaves = layer_names.unrolled_leaves({'layers/scale': stack})
  shuffled = dict(sorted(leaves.items()))
  found = layer_names.stacked_leaves(shuffled)['layers/scale']
  np.testing.assert_array_equal(found, stack)


def test_a_stored_name_is_that_of_the_stack():
  name = 'layers_4/block_1/mlp/up/bias'
  assert layer_names.stored_name(name, True) == 'layers/block_1/mlp/up/bias'
  assert layer_names.stored_name(name, False) == name
  assert layer_names.stored_name('task_head/bias', True) == 'task_head/bias'
