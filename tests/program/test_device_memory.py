"""A state that no device can hold is refused before it is allocated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel import free_memory
from gpt_jax.program import device_memory
from gpt_jax.train import loop
from tests import tiny_runs


def abstract(shape, axes=()):
  mesh = Mesh(np.array(jax.devices()), ('data',))
  sharding = NamedSharding(mesh, PartitionSpec(*axes))
  return {'w': jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)}


def test_bytes_are_counted_where_they_lie():
  assert set(device_memory.bytes_by_device(abstract((16, 3))).values()) == {192}
  sharded = device_memory.bytes_by_device(abstract((16, 3), ('data',)))
  assert (len(sharded), set(sharded.values())) == (8, {24})


def test_virtual_devices_share_the_memory_of_their_host(monkeypatch):
  monkeypatch.setattr(free_memory, 'free_on', lambda device: 1000)
  device_memory.check_fits(abstract((16, 3), ('data',)))
  with pytest.raises(ConfigError, match='parallel.mesh'):
    device_memory.check_fits(abstract((16, 3)))


@pytest.mark.parametrize(
  'field, value', [('model.d_model', 2**19), ('model.d_ff', 2**22)]
)
def test_a_model_beyond_all_memory_is_refused_by_name(field, value, tmp_path):
  layers = {'model.num_layers': 10_000}
  with pytest.raises(ConfigError, match=field):
    config = tiny_runs.tiny_config(layers | {field: value})
    loop.train(config, tmp_path, quiet=True)
