"""Sharding by logical names: every preset gives the same numbers on shards."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.core.axes import LOGICAL_AXES, MESH_AXES
from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import (
  EMBED_AXES,
  PRESETS,
  constrain,
  make_sharding_rules,
)
from tests import small_models as small
from tests import tiny_runs

# Every kind of parameter: embeddings, grouped heads, gate, biases, QK norms, a head.
RICH = dict(
  model__num_kv_heads=2, model__activation='swiglu', model__qk_norm='rmsnorm',
  model__tie_embeddings=False,
)  # fmt: skip
TIED = dict(model__position='rope', model__norm='rmsnorm', model__bias=False)

CASES = {
  'replicated': ('replicated', dict(data=8), RICH),
  'fsdp': ('fsdp', dict(data=2, fsdp=4), RICH),
  'fsdp_tensor': ('fsdp_tensor', dict(data=2, fsdp=2, tensor=2), RICH),
  'fsdp_tensor, tied': ('fsdp_tensor', dict(fsdp=4, tensor=2), TIED),
  'sequence': ('sequence', dict(fsdp=2, sequence=2, tensor=2), RICH),
}

# Which mesh axis shards which dimension of the stacked [L, ...] or flat parameter.
SHARDED_BY = {
  'embed/embedding': ('tensor', 'fsdp'),
  'position/embedding': (None, 'fsdp'),
  'head/kernel': ('fsdp', 'tensor'),
  'query/kernel': (None, 'fsdp', 'tensor', None),
  'key/kernel': (None, 'fsdp', 'tensor', None),
  'value/bias': (None, 'tensor', None),
  'out/kernel': (None, 'tensor', None, 'fsdp'),
  'out/bias': (None, None),
  'up/kernel': (None, 'fsdp', 'tensor'),
  'gate/kernel': (None, 'fsdp', 'tensor'),
  'up/bias': (None, 'tensor'),
  'down/kernel': (None, 'tensor', 'fsdp'),
  'down/bias': (None, None),
  'mlp_norm/scale': (None, None),
  'query_norm/scale': (None, None),
  'final_norm/scale': (None,),
}


def rules_of(preset, mesh, **overrides):
  config = small.resolve(
    parallel__preset=preset, parallel__mesh=mesh, parallel__overrides=overrides
  )
  return make_sharding_rules(config.parallel, make_mesh(config.parallel.mesh))


def placed(params, model, rules):
  """Returns `params` on the mesh, each where its logical names say."""
  names = nn.get_partition_spec(small.boxed_shapes(model))
  return jax.tree.map(
    lambda leaf, spec: jax.device_put(leaf, rules.sharding(tuple(spec))), params, names
  )


@pytest.fixture(scope='module')
def unsharded():
  """Returns `{overrides id: (params, tokens, logits, grads)}` of one device."""
  found = {}
  for overrides in (RICH, TIED):
    model = small.make_gpt(small.resolve(**overrides))
    params, tokens_BT = small.random_params(model), small.random_tokens(8)
    outputs = small.logits_and_grads(model)(params, tokens_BT)
    found[id(overrides)] = (params, tokens_BT, *outputs)
  return found


@pytest.mark.parametrize(
  'case', tiny_runs.mostly_slow(CASES, 'fsdp_tensor, tied', 'sequence')
)
def test_every_preset_gives_the_unsharded_logits_and_gradients(unsharded, case):
  preset, mesh, overrides = CASES[case]
  params, tokens_BT, expected_BTV, expected_grads = unsharded[id(overrides)]
  rules = rules_of(preset, mesh)
  model = small.make_gpt(small.resolve(**overrides), rules=rules)
  sharded = placed(params, model, rules)
  tokens_BT = jax.device_put(tokens_BT, rules.sharding(('batch', None)))
  logits_BTV, grads = small.logits_and_grads(model)(sharded, tokens_BT)
  np.testing.assert_allclose(logits_BTV, expected_BTV, atol=1e-5)
  small.assert_trees_close(grads, expected_grads, atol=1e-5)
  # The pin on the logits holds: each device keeps its rows, times and vocabulary.
  wanted = rules.sharding(('batch', 'time', 'act_vocab'))
  assert logits_BTV.sharding.is_equivalent_to(wanted, 3)


@pytest.mark.parametrize('case', CASES)
def test_each_device_holds_its_shard_of_each_parameter(case):
  preset, mesh, overrides = CASES[case]
  rules = rules_of(preset, mesh)
  model = small.make_gpt(small.resolve(**overrides))
  params = placed(small.random_params(model), model, rules)
  sizes = {axis: mesh.get(axis, 1) for axis in MESH_AXES}
  if preset == 'replicated':
    sizes = dict.fromkeys(sizes, 1)
  if preset == 'fsdp':
    sizes['tensor'] = 1
  checked = set()
  for name, leaf in pytree.named_leaves(params):
    tail = '/'.join(name.split('/')[-2:])
    if tail not in SHARDED_BY:
      continue
    checked.add(tail)
    share = tuple(
      size // sizes.get(axis, 1)
      for size, axis in zip(leaf.shape, SHARDED_BY[tail], strict=True)
    )
    shards = {shard.data.shape for shard in leaf.addressable_shards}
    assert shards == {share}, name
    assert len(leaf.addressable_shards) == 8
  assert checked == set(SHARDED_BY) or overrides is TIED


def test_every_preset_places_known_names_on_known_axes():
  for preset in PRESETS.values():
    assert set(preset) <= set(LOGICAL_AXES)
    for axes in preset.values():
      assert set((axes,) if isinstance(axes, str) else axes) <= set(MESH_AXES)


def test_an_indivisible_dimension_is_an_error_with_two_fixes():
  rules = rules_of('fsdp_tensor', dict(data=1, fsdp=2, tensor=4))
  rules.check('key/kernel', (16, 4, 8), ('embed', 'kv_heads', 'head_dim'))
  with pytest.raises(ConfigError) as caught:
    rules.check('key/kernel', (16, 2, 8), ('embed', 'kv_heads', 'head_dim'))
  for words in ('key/kernel', "'kv_heads' dimension of 2", '4 devices', 'parallel.mesh',
                'one of 1, 2,', 'parallel.overrides.kv_heads=None'):  # fmt: skip
    assert words in str(caught.value)


def test_replicating_an_indivisible_dimension_works():
  rules = rules_of('fsdp_tensor', dict(data=1, fsdp=2, tensor=4), kv_heads=None)
  rules.check('key/kernel', (16, 2, 8), ('embed', 'kv_heads', 'head_dim'))
  assert rules.num_shards('kv_heads') == 1


def test_an_override_changes_one_name_and_no_other():
  mesh = dict(data=2, fsdp=2, tensor=2)
  plain = rules_of('fsdp_tensor', mesh)
  moved = rules_of('fsdp_tensor', mesh, mlp=('tensor', 'data'))
  assert moved.spec(('embed', 'mlp')) == jax.P('fsdp', ('tensor', 'data'))
  assert moved.num_shards('mlp') == 4
  others = [name for name in LOGICAL_AXES if name != 'mlp']
  assert plain.spec(('embed', 'vocab')) == moved.spec(('embed', 'vocab'))
  for name in others:
    assert plain.mesh_axes_of(name) == moved.mesh_axes_of(name)


def test_embedding_rows_are_sharded_in_width_then_as_the_stream():
  mesh = dict(data=2, fsdp=2, sequence=2)
  rules = rules_of('sequence', mesh)
  assert rules.spec(EMBED_AXES) == jax.P(('data',), ('sequence', 'tensor'), 'fsdp')
  rules = rules_of('sequence', mesh, embed=('fsdp', 'sequence'))
  assert rules.spec(EMBED_AXES) == jax.P(('data',), ('tensor',), ('fsdp', 'sequence'))
  rules = rules_of('sequence', mesh, embed=None)
  assert rules.spec(EMBED_AXES)[0] == rules.spec(('batch',))[0]


@pytest.mark.parametrize('norm_position', ['pre', 'post'])
def test_rows_of_two_embeddings_are_summed_before_they_travel(norm_position):
  rules = rules_of('fsdp', dict(data=2, fsdp=4))
  overrides = dict(model__position='learned', model__norm_position=norm_position)
  model = small.make_gpt(small.resolve(**overrides), rules=rules)
  params = placed(small.random_params(model), model, rules)
  tokens_BT = jax.device_put(small.random_tokens(8), rules.sharding(('batch', None)))
  text = small.jit(model.apply).lower({'params': params}, tokens_BT).compile().as_text()
  moved = re.findall(
    r'= \(?(\w+)\[.* (all-gather|all-reduce|all-to-all)\(.*GPT\._embed', text
  )
  assert sorted(moved) == [('f32', 'all-to-all'), ('s32', 'all-gather')]


def test_one_mesh_axis_cannot_shard_two_dimensions():
  rules = rules_of('fsdp_tensor', dict(data=2, fsdp=2, tensor=2), embed='tensor')
  with pytest.raises(ConfigError, match="'embed'.*'mlp'.*same mesh axis"):
    rules.sharding(('embed', 'mlp'))


def test_an_unknown_preset_is_met_with_the_nearest_name():
  with pytest.raises(ConfigError, match="parallel.preset='fsdp_tensr'.*'fsdp_tensor'"):
    rules_of('fsdp_tensr', dict(data=8))


def test_batches_are_sharded_over_data_and_fsdp_together():
  for preset in PRESETS:
    rules = rules_of(preset, dict(data=2, fsdp=4))
    assert rules.num_shards('batch') == 8


def test_names_without_mesh_axes_are_replicated():
  rules = rules_of('replicated', dict(data=8))
  assert rules.spec(('embed', 'mlp')) == jax.P(None, None)
  assert rules.sharding().is_fully_replicated


def test_a_constraint_needs_a_name_for_each_dimension():
  rules = rules_of('fsdp', dict(data=8))
  with pytest.raises(AssertionError):
    rules.constrain(jnp.zeros((2, 3)), 'batch')


def test_without_rules_nothing_is_constrained():
  x = jnp.zeros((2, 3))
  assert constrain(None, x, 'batch', 'time') is x
