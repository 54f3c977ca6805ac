"""What a checkpoint declares is compared with this machine before it is read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.checkpoints import memory
from gpt_jax.core.errors import CheckpointError

HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def declared(*shape, sharding=HERE, dtype=jnp.float32):
  return {'params': {'w': jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)}}


def test_arrays_that_do_not_fit_are_named():
  memory.require_fit(declared(1024), 'run/3')
  with pytest.raises(CheckpointError, match=r'run/3 declares .* params/w 4e\+06 GB'):
    memory.require_fit(declared(10**9, 10**6), 'run/3')


def test_every_shard_and_copy_on_this_host_counts(monkeypatch):
  monkeypatch.setattr(memory.free_memory, 'host_bytes', lambda: 5000)
  mesh = Mesh(np.asarray(jax.devices()[:8]), ('data',))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  memory.require_fit(declared(1024, sharding=rows), '')  # 4096 bytes in all
  copies = NamedSharding(mesh, PartitionSpec())
  with pytest.raises(CheckpointError, match='this machine'):
    memory.require_fit(declared(1024, sharding=copies), '')


def test_unknown_free_memory_passes(monkeypatch):
  monkeypatch.setattr(memory.free_memory, 'host_bytes', lambda: None)
  memory.require_fit(declared(10**9, 10**6), '')
