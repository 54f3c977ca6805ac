"""Checksums see values, their order, and no device or mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core import array_checksums


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int8', 'uint32'])
def test_one_bit_changes_it(dtype):
  array = np.random.default_rng(0).integers(0, 100, (5, 7)).astype(jnp.dtype(dtype))
  other = array.copy()
  other[3, 2] += np.asarray(1, other.dtype)
  assert array_checksums.checksum(jnp.asarray(array)) == array_checksums.checksum(
    jnp.asarray(array)
  )
  assert array_checksums.checksum(jnp.asarray(array)) != array_checksums.checksum(
    jnp.asarray(other)
  )


def test_the_order_counts():
  array = jnp.arange(12.0).reshape(3, 4)
  assert array_checksums.checksum(array) != array_checksums.checksum(array[::-1])


def test_shards_have_that_of_the_whole():
  mesh = jax.make_mesh((len(jax.devices()),), ('data',))
  place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
  array = jnp.arange(64.0).reshape(8, 8)
  assert array_checksums.checksum(
    jax.device_put(array, place)
  ) == array_checksums.checksum(array)


def test_a_combination_depends_on_names():
  one, other = {'a': 1, 'b': 2}, {'a': 2, 'b': 1}
  assert array_checksums.combine(one) == array_checksums.combine(
    dict(reversed(one.items()))
  )
  assert array_checksums.combine(one) != array_checksums.combine(other)
  assert len(array_checksums.combine(one)) == 12
