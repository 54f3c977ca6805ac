"""Which bytes of data files hold which array."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore as ts
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.checkpoints import ocdbt
from gpt_jax.core.errors import CheckpointError
from tests.checkpoints.states import open_all


def test_each_shard_of_an_array_is_a_chunk(tmp_path):
  mesh = Mesh(np.asarray(jax.devices()[:4]), ('data',))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  wide = jax.random.normal(jax.random.key(0), (64, 64))
  params = {'wide': jax.device_put(wide, rows), 'tiny': jnp.ones(3)}
  with open_all(tmp_path) as store:
    store.save(1, {'params': params}, {})
  found = ocdbt.chunks(tmp_path / '1' / 'params')
  chunks = [chunk for chunks in found.values() for chunk in chunks]
  assert sum(chunk.arrays == ('wide',) for chunk in chunks) == 4
  assert any('tiny' in chunk.arrays for chunk in chunks)  # in the node itself
  for file, inside in found.items():
    size = (tmp_path / '1' / 'params' / file).stat().st_size
    assert all(chunk.stop <= size for chunk in inside)
  assert ocdbt.names(tmp_path / '1' / 'params') == {
    'wide': 'wide', 'tiny': 'tiny',
  }  # fmt: skip


def test_names_are_complete_in_a_tree_of_several_levels(tmp_path):
  spec = {
    'driver': 'ocdbt',
    'base': f'file://{tmp_path}/',
    'config': {'max_decoded_node_bytes': 200, 'max_inline_value_bytes': 0},
  }
  store = ts.KvStore.open(spec).result()
  wanted = {f'block.{n:03}.kernel' for n in range(60)}
  for name in wanted:
    store[f'{name}/0.0'] = name.encode() * 5
  found = ocdbt.chunks(tmp_path)
  arrays = {}
  for file, chunks in found.items():
    content = (tmp_path / file).read_bytes()
    for chunk in chunks:
      for array in chunk.arrays:
        arrays[array] = content[chunk.start : chunk.stop]
  assert arrays == {name: name.encode() * 5 for name in wanted}


def test_a_folder_without_arrays_has_no_chunks(tmp_path):
  assert ocdbt.chunks(tmp_path) == {}
  assert ocdbt.names(tmp_path) == {}


@pytest.mark.parametrize('key', ['..', '', 'a/../../b', '/etc', 'a\0b'])
def test_an_array_whose_name_leads_out_of_the_folder_is_refused(tmp_path, key):
  tree = {'x': {'key_metadata': [{'key': key, 'key_type': 2}]}}
  (tmp_path / '_METADATA').write_text(json.dumps({'tree_metadata': tree}))
  with pytest.raises(CheckpointError, match='stays inside the folder'):
    ocdbt.require_safe_names(tmp_path)
