"""Parameters of another run, read in part, changed, and accounted for by name."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.model import stacking
from gpt_jax.program import init_from
from gpt_jax.program.init_rules import Take
from tests import small_models
from tests.checkpoints import states

SAVED = {
  'embed': {'embedding': np.arange(24.0).reshape(6, 4)},
  'layers': {'mlp': {'kernel': np.arange(32.0).reshape(2, 4, 4) + 100}},
  'head': {'kernel': np.arange(24.0).reshape(4, 6) - 50},
}


@pytest.fixture(scope='module')
def stores(tmp_path_factory):
  """Returns {'stacked' or 'unrolled': folder of checkpoints with SAVED as step 3}."""
  folders = {}
  for name, tree in (('stacked', SAVED), ('unrolled', stacking.unstack(SAVED))):
    folders[name] = tmp_path_factory.mktemp(name)
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)
    with states.open_all(folders[name]) as store:
      store.save(3, {'params': params, 'train': {'step': jnp.int32(3)}}, {})
  return folders


def fresh_like(tree, fill=-1.0, sharding=None):
  """Returns new arrays with the shapes of `tree`, all `fill`."""
  return jax.tree.map(
    lambda x: jax.device_put(np.full(x.shape, fill, np.float32), sharding), tree
  )


def init(folder, fresh, *rules, transform='rules'):
  config = small_models.resolve(init__rules=rules, init_from='runs/a')
  settings = dataclasses.replace(config.init, transform=transform)
  with CheckpointReader(folder) as store:
    config = dataclasses.replace(config, init=settings)
    return init_from.init_params(config, fresh, store, 3)


def assert_equal(tree, expected):
  found, expected = dict(pytree.named_leaves(tree)), dict(pytree.named_leaves(expected))
  assert found.keys() == expected.keys()
  for name, leaf in found.items():
    np.testing.assert_array_equal(leaf, expected[name], err_msg=name)


@pytest.mark.parametrize('saved', ['stacked', 'unrolled'])
@pytest.mark.parametrize('wanted', ['stacked', 'unrolled'])
def test_stacked_and_unrolled_layers_become_each_other(saved, wanted, stores):
  expected = SAVED if wanted == 'stacked' else stacking.unstack(SAVED)
  params, report = init(stores[saved], fresh_like(expected))
  assert_equal(params, expected)
  assert report.is_whole and report.step == 3


def test_rules_take_rename_crop_and_count(stores):
  fresh = fresh_like(
    {
      'embed': {'embedding': np.zeros((8, 4))},
      'layers': {'up': {'kernel': np.zeros((2, 4, 4))}},
      'extra': np.zeros(3),
    }
  )
  rules = (
    {'rename': ('mlp', 'up')},
    {'skip': 'head'},
    {'fresh': 'extra'},
    {'overlap': 'embed'},
  )
  params, report = init(stores['stacked'], fresh, *rules)
  expected = np.full((8, 4), -1.0)
  expected[:6] = SAVED['embed']['embedding']
  np.testing.assert_array_equal(params['embed']['embedding'], expected)
  np.testing.assert_array_equal(
    params['layers']['up']['kernel'], SAVED['layers']['mlp']['kernel']
  )
  np.testing.assert_array_equal(params['extra'], [-1, -1, -1])
  assert report.as_json() == {
    'source': 'runs/a',
    'step': 3,
    'renamed': ['layers/mlp/kernel -> layers/up/kernel'],
    'changed': ['embed/embedding float32[6, 4] -> float32[8, 4]'],
    'fresh': ['extra'],
    'skipped': ['head/kernel'],
  }
  assert [line.split()[:2] for line in report.lines()][1:] == [
    ['renamed', '1'], ['changed', '1'], ['fresh', '1'], ['skipped', '1'],
  ]  # fmt: skip


def test_an_overlap_crops_as_well(stores):
  tree = SAVED | {'head': {'kernel': np.zeros((4, 3))}}
  params, _ = init(stores['stacked'], fresh_like(tree), {'overlap': 'head'})
  np.testing.assert_array_equal(
    params['head']['kernel'], SAVED['head']['kernel'][:, :3]
  )


def test_a_cast_is_to_the_dtype_of_this_run(stores):
  fresh = jax.tree.map(lambda x: jnp.zeros(x.shape, 'bfloat16'), SAVED)
  with pytest.raises(CheckpointError, match='wanted bfloat16'):
    init(stores['stacked'], fresh)
  params, report = init(stores['stacked'], fresh, {'cast': '.'})
  assert params['head']['kernel'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(
    params['head']['kernel'], SAVED['head']['kernel'].astype(jnp.bfloat16)
  )
  assert len(report.kinds['changed']) == 3


def test_parameters_lie_where_the_fresh_ones_do(stores):
  sharding = states.spread(2, (None, 'data'))
  fresh = fresh_like(stacking.unstack(SAVED), sharding=sharding)
  for saved in ('stacked', 'unrolled'):
    params, _ = init(stores[saved], fresh)
    assert_equal(params, stacking.unstack(SAVED))
    assert all(leaf.sharding == sharding for leaf in jax.tree.leaves(params))


def test_only_what_is_wanted_is_read(stores, monkeypatch):
  read, usual = [], CheckpointReader.restore_leaves

  def watch(self, step, item, leaves):
    read.extend(leaves)
    return usual(self, step, item, leaves)

  monkeypatch.setattr(CheckpointReader, 'restore_leaves', watch)
  rules = {'skip': 'head|embed'}, {'fresh': 'head|embed'}
  init(stores['stacked'], fresh_like(SAVED), *rules)
  assert read == ['layers/mlp/kernel']


def mixed(config, source, target):
  """Returns a head made of two arrays, and everything else as it was."""
  mapping = {name: name for name in target}
  mapping['head/kernel'] = Take(
    ('head/kernel', 'embed/embedding'), lambda head, embed: (head + embed.T) / 2
  )
  return mapping


def forgetful(config, source, target):
  return {}


def inventive(config, source, target):
  return {name: 'nothing/there' for name in target}


def misshapen(config, source, target):
  return {name: Take(('embed/embedding',), lambda x: x[0]) for name in target}


@pytest.mark.parametrize('saved', ['stacked', 'unrolled'])
def test_a_transform_may_compute(saved, stores):
  name = f'{__name__}:mixed'
  params, report = init(stores[saved], fresh_like(SAVED), transform=name)
  expected = (SAVED['head']['kernel'] + SAVED['embed']['embedding'].T) / 2
  np.testing.assert_array_equal(params['head']['kernel'], expected)
  assert report.kinds['made'] == ['head/kernel'] and len(report.kinds['taken']) == 2


@pytest.mark.parametrize(
  'transform, error, message',
  [
    ('forgetful', ConfigError, 'says nothing about embed/embedding'),
    ('inventive', ConfigError, 'made of nothing/there, which is not saved'),
    ('misshapen', CheckpointError, r'float32\[4\]; expected float32\[6, 4\]'),
  ],
)
def test_a_transform_that_is_wrong_is_told(transform, error, message, stores):
  with pytest.raises(error, match=message):
    init(stores['stacked'], fresh_like(SAVED), transform=f'{__name__}:{transform}')
