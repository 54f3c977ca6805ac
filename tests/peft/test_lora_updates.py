"""Updates out of the parameters of a LoRA run, and back into those of one."""

import dataclasses
import re

import numpy as np
import pytest

from gpt_jax import peft
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import lora_updates
from gpt_jax.peft.lora_updates import Update
from tests import small_models


def config_with(**options):
  fields = {f'peft__options__{name}': value for name, value in options.items()}
  return small_models.resolve(peft__name='lora', **fields)


def leaves_of(config, seed=0):
  rng = np.random.default_rng(seed)
  return {
    name: rng.normal(0, 0.3, leaf.shape).astype(np.float32)
    for name, leaf in peft.make_adapter(config).added.items()
  }


def products(updates):
  return {path: update.product() for path, update in updates.items()}


def assert_equal(found, wanted, **tolerance):
  assert found.keys() == wanted.keys()
  for path, value in wanted.items():
    np.testing.assert_allclose(found[path], value, err_msg=path, **tolerance)


@pytest.mark.parametrize(
  'options',
  [
    dict(rank=3),
    dict(rank=2, rank_stabilized=True, targets='', rank_pattern={'mlp': 4}),
  ],
)
@pytest.mark.parametrize('scan', [True, False])
def test_what_is_read_is_what_a_merge_adds(options, scan):
  config = config_with(**options)
  model = dataclasses.replace(config.model, scan_layers=scan)
  config = dataclasses.replace(config, model=model)
  leaves = leaves_of(config)
  assert leaves.keys() == set(lora_updates.names(config))
  updates = lora_updates.read(config, leaves)
  for name, merge in peft.make_adapter(config).merged.items():
    assert_equal(*_merged_update(merge, leaves, updates, name), atol=1e-6)


def _merged_update(merge, leaves, updates, name):
  """Returns ({path: matrix} as merged on a base of zeros, the same of Updates)."""
  path = name.removesuffix('/kernel')
  mine = {
    one: update
    for one, update in updates.items()
    if re.sub(r'layers_\d+', 'layers', one) == re.sub(r'layers_\d+', 'layers', path)
    and (path.startswith('layers/') or one == path)
  }
  a, b = (leaves[one] for one in merge.names[1:3])
  stack = a.shape[:1] if path.startswith('layers/') else ()
  inside, outside = a.shape[len(stack) : -1], b.shape[len(stack) + 1 :]
  kernel = np.asarray(
    merge.make(np.zeros((*stack, *inside, *outside), np.float32), a, b)
  )
  found = kernel.reshape(-1, int(np.prod(inside)), int(np.prod(outside)))
  return dict(zip(mine, found, strict=True)), products(mine)


@pytest.mark.parametrize(
  'options', [dict(rank=3), dict(rank=2, targets='', rank_pattern={'mlp/up': 4})]
)
def test_writing_is_the_inverse_of_reading(options):
  config = config_with(**options)
  leaves = leaves_of(config)
  updates = lora_updates.read(config, leaves)
  again, found = lora_updates.write(config, updates, alpha=16.0)
  assert again.model.scan_layers
  assert_equal(found, leaves, rtol=1e-6)
  assert peft.make_adapter(again).added.keys() == leaves.keys()


def test_other_scales_go_into_the_factor_b():
  config = config_with(rank=3)
  updates = lora_updates.read(config, leaves_of(config))
  again, found = lora_updates.write(config, updates, alpha=5.0, rank_stabilized=True)
  assert_equal(
    products(lora_updates.read(again, found)), products(updates), rtol=1e-5, atol=1e-6
  )


def test_pissa_is_what_has_been_learned_since():
  config = config_with(rank=2, init='pissa')
  leaves = leaves_of(config)
  for name in list(leaves):
    if name.endswith('_start'):
      leaves[name] = leaves[name.removesuffix('_start')]
  updates = lora_updates.read(config, leaves)
  assert {one.rank for one in updates.values()} == {4}
  for path, product in products(updates).items():
    np.testing.assert_allclose(product, 0, atol=1e-6, err_msg=path)


def test_layers_that_differ_are_unrolled():
  config = config_with(rank=3)
  updates = lora_updates.read(config, leaves_of(config))
  del updates['layers_0/block_0/attention/value']
  again, found = lora_updates.write(config, updates, alpha=16.0)
  assert not again.model.scan_layers
  assert_equal(
    products(lora_updates.read(again, found)), products(updates), rtol=1e-5, atol=1e-6
  )
  assert peft.make_adapter(again).added.keys() == found.keys()


def test_ranks_above_the_matrix_become_full_ranks():
  config = config_with(rank=16)
  updates = lora_updates.read(config, leaves_of(config))
  double = {
    path: Update(np.tile(one.a, 2), np.concatenate([one.b, one.b]), one.scale)
    for path, one in updates.items()
  }
  again, found = lora_updates.write(config, double)
  assert again.peft.options.rank == 16
  assert_equal(
    products(lora_updates.read(again, found)), products(double), rtol=1e-4, atol=1e-5
  )


def test_patterns_find_the_paths_and_no_others():
  every = ['a/query', 'a/out', 'b/query', 'b/up', 'b/upper']
  for paths in (['a/query', 'b/query'], ['b/up'], ['a/query'], ['a/out', 'b/up']):
    pattern = lora_updates.pattern_of(paths, every)
    assert [one for one in every if re.search(pattern, one)] == paths


def test_other_methods_are_refused():
  config = small_models.resolve()
  with pytest.raises(ConfigError, match='expected a run with peft.name="lora"'):
    lora_updates.require_lora(config, 'runs/a')
