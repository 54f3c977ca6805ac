"""The train state: its parts in a checkpoint, and where its leaves live."""

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.program.state import TrainState, shardings_like, with_shardings

MESH = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ('a', 'b'))


def place(*axes):
  return NamedSharding(MESH, PartitionSpec(*axes))


PARAMS = {
  'layers': {'kernel': np.zeros((2, 4, 8), np.float32)},
  'norm': {'scale': np.ones(4, np.float32)},
}
PLACES = {'layers': {'kernel': place(None, 'a', 'b')}, 'norm': {'scale': place('a')}}


def state(ema=None, start=None):
  opt_state = optax.adam(1.0).init(PARAMS)
  return TrainState(np.int32(3), np.int32(7), PARAMS, opt_state, ema, start=start)


def test_a_state_comes_back_from_its_checkpoint_items():
  for one in (state(), state(ema=PARAMS), state(start=PARAMS)):
    back = TrainState.from_items(one.as_items())
    assert jax.tree.structure(back) == jax.tree.structure(one)
    assert jax.tree.leaves(back)[0] is jax.tree.leaves(one)[0]


def test_parameters_are_a_checkpoint_item_of_their_own():
  assert state().as_items().keys() == {'params', 'train'}
  assert state(ema=PARAMS).as_items().keys() == {'params', 'train', 'ema'}


def test_the_average_is_what_counts_where_there_is_one():
  kernel, scale = np.ones((2, 4, 8), np.float32), np.zeros(4, np.float32)
  average = {'layers': {'kernel': kernel}, 'norm': {'scale': scale}}
  assert state().averaged is PARAMS
  assert state(ema=average).averaged == average
  of_some = state(ema=average | {'norm': {'scale': None}}).averaged
  assert of_some['layers']['kernel'] is kernel
  assert of_some['norm']['scale'] is PARAMS['norm']['scale']


def test_moments_are_sharded_like_their_parameters():
  opt_state = optax.adam(1.0).init(PARAMS)
  places = shardings_like(opt_state, PARAMS, PLACES, place())
  assert places[0].mu == PLACES
  assert places[0].nu == PLACES
  assert places[0].count == place()


def test_a_leaf_unlike_its_parameter_in_shape_is_replicated():
  factored = {'layers': {'kernel': np.zeros((2, 4))}, 'norm': {'scale': np.ones(4)}}
  places = shardings_like({'v_row': factored}, PARAMS, PLACES, place())
  assert places['v_row']['layers']['kernel'] == place()
  assert places['v_row']['norm']['scale'] == place('a')


def test_abstract_leaves_have_their_sharding():
  (kernel, scale) = jax.tree.leaves(with_shardings(PARAMS, PLACES))
  assert (kernel.shape, kernel.dtype) == ((2, 4, 8), np.float32)
  assert kernel.sharding == place(None, 'a', 'b')
  assert scale.sharding == place('a')
