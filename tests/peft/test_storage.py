"""Which kernels of a model are stored in few bits, and what matmuls see."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import peft
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import make_sharding_rules
from gpt_jax.peft import storage
from gpt_jax.program.build import adapter_of
from gpt_jax.quantization import packed
from tests import tiny_runs
from tests.peft import adapted_models

FORMATS = ('int8', 'nf4')  # variants of `adapted_models` as well


def config_of(format, overrides=None):
  fields = {'peft.name': 'lora', 'peft.base_storage': format}
  config = tiny_runs.tiny_config(fields | (overrides or {}))
  model = dataclasses.replace(config.model, vocab_size=32)
  return dataclasses.replace(config, model=model)


def stored(config):
  """Returns the Storage of the adapter of a Config."""
  return peft.make_adapter(config).storage


@pytest.mark.parametrize('format', FORMATS)
def test_what_is_stored_is_kernels_of_blocks(format):
  found = stored(config_of(format))
  names = {name.rpartition('/')[2] for name in found.kernels}
  assert names == {'kernel'}
  assert all(name.startswith('layers/') for name in found.kernels)
  program = adapted_models.build(format)
  for name, leaf in pytree.named_leaves(program.abstract_state.params):
    is_kernel = name.startswith('layers/') and name.endswith('/kernel')
    assert packed.is_packed(leaf) == is_kernel, name
    assert not is_kernel or name in program.frozen


@pytest.mark.parametrize('format', FORMATS)
def test_a_kernel_that_trains_is_as_it_is(format):
  config = config_of(format)
  found = storage.make_storage(config, lambda name: 'query' in name)
  assert all('query' in name for name in found.kernels)


@pytest.mark.parametrize('format', FORMATS)
def test_structs_are_those_of_what_is_packed(format):
  program = adapted_models.build(format)
  state, wanted = program.init(0), program.abstract_state
  for name, leaf in pytree.named_leaves(wanted.params):
    array = dict(pytree.named_leaves(state.params))[name]
    assert (array.shape, array.dtype) == (leaf.shape, leaf.dtype)
    assert array.sharding.is_equivalent_to(leaf.sharding, leaf.ndim)


@pytest.mark.parametrize('format', FORMATS)
def test_a_mapping_in_full_has_the_names_of_the_plain_model(format):
  program = adapted_models.build(format)
  adapter, params = adapter_of(program.model), program.init(0).params
  found = peft.in_full(adapter, params)
  plain = dict(pytree.named_leaves(adapted_models.build(None).parameters))
  assert set(found) - adapter.added.keys() == plain.keys()
  assert len(found) == len(plain) + len(adapter.added)
  for name, leaf in plain.items():
    assert (found[name].shape, found[name].dtype) == (leaf.shape, leaf.dtype)


@pytest.mark.parametrize('format', FORMATS)
def test_packing_twice_changes_nothing(format):
  program = adapted_models.build(format)
  adapter, params = adapter_of(program.model), adapted_models.state_of(program).params
  assert adapter.storage
  again = adapter.storage.pack(pytree.nested(dict(peft.in_full(adapter, params))))
  for name, leaf in pytree.named_leaves(params):
    other = dict(pytree.named_leaves(again))[name]
    np.testing.assert_array_equal(np.asarray(leaf), np.asarray(other), err_msg=name)


def test_a_layer_in_bfloat16_reads_what_a_plain_one_would():
  config = {'model.dtype': 'bfloat16'}
  program = adapted_models.build('int8', config)
  plain = adapted_models.build(None, config)
  params = adapted_models.state_of(program).params
  found = adapted_models.logits(program, params)
  wanted = adapted_models.logits(plain, adapted_models.base_of(program, params))
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_scales_are_sharded_where_whole_blocks_divide():
  wide = {
    'model.d_model': 256, 'model.num_heads': 4, 'model.d_ff': 192,
    'parallel.mesh.data': 1, 'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 1,
  }  # fmt: skip
  config = config_of('nf4', wide)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:2])
  rules = make_sharding_rules(config.parallel, mesh)
  axes = stored(config).axes(rules)
  assert axes['layers/block_0/mlp/up/kernel_scale'] == ('layers', 'embed', 'mlp')
  narrow = config_of('nf4', wide | {'model.d_model': 64, 'model.num_heads': 2})
  axes = stored(narrow).axes(rules)  # one block
  assert axes['layers/block_0/mlp/up/kernel_scale'] == ('layers', None, 'mlp')


def test_bits_of_a_parameter():
  shape = {'model.d_model': 256, 'model.num_heads': 4, 'model.d_ff': 512}
  for format, bits in (('int8', 8 + 32 / 256), ('nf4', 4 + 8 / 64 + 32 / 256)):
    config = config_of(format, shape)
    found = stored(config)
    name = 'layers/block_0/mlp/up'
    numbers = config.model.num_layers * 256 * 512
    parts = [found.structs()[each] for each in found.parts if each.startswith(name)]
    codes = jax.ShapeDtypeStruct((numbers,), found.kernels[f'{name}/kernel'])
    assert 8 * pytree.size_bytes([codes, *parts]) / numbers == bits


def test_a_base_that_trains_is_refused():
  with pytest.raises(ConfigError, match=r"peft\.base_storage='nf4': kernels in few"):
    tiny_runs.tiny_config({'peft.base_storage': 'nf4'})


def test_only_names_beside_a_kernel_are_parts():
  assert packed.is_part('layers/block_0/mlp/up/kernel_scale')
  assert not packed.is_part('layers/block_0/mlp_norm/scale')
  assert packed.is_packed(jnp.zeros(2, jnp.uint4))
  assert not packed.is_packed(jnp.zeros(2, jnp.float32))


WIDE = {
  'model.d_model': 64, 'model.d_ff': 256, 'model.num_heads': 4, 'model.num_kv_heads': 4,
  'model.dtype': 'bfloat16',
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
  'format, scans', [('int8', False), ('nf4', True), ('nf4', False)]
)
def test_a_sharded_kernel_is_gathered_in_codes(format, scans):
  mesh = {'parallel.mesh.data': 1, 'parallel.mesh.fsdp': 4, 'parallel.mesh.tensor': 1}
  fields = WIDE | mesh | {'parallel.preset': 'fsdp', 'model.scan_layers': scans}
  program = adapted_models.build(format, fields, devices=4)
  batch = {'tokens': jax.ShapeDtypeStruct((8, 17), jnp.int32)}
  text = program.step.lower(program.abstract_state, batch).compile().as_text()
  gathers = re.findall(r'= (\w+)\[([\d,]*)\]\S* all-gather(?:-start)?\(', text)
  sizes = [(kind, math.prod(map(int, shape.split(',')))) for kind, shape in gathers]
  kernels = {kind for kind, size in sizes if size >= 64 * 64}  # else scales, A, tokens
  assert kernels and kernels <= {'s8', 'u8', 's4', 'u4'}, sorted(set(sizes))


def test_a_sharded_kernel_computes_the_same():
  fields = WIDE | {'model.dtype': 'float32', 'parallel.mesh.data': 1}
  mesh = {'parallel.mesh.fsdp': 4, 'parallel.mesh.tensor': 2}
  alone = adapted_models.build('nf4', fields)
  sharded = adapted_models.build(
    'nf4', fields | mesh | {'parallel.preset': 'fsdp_tensor'}, devices=8
  )
  losses = [
    adapted_models.steps(each, adapted_models.state_of(each), 2)[1]
    for each in (alone, sharded)
  ]
  np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
