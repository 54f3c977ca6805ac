"""Codes of 4 bits without a sign come back as they were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.checkpoints import manager, reader
from gpt_jax.core.errors import CheckpointError

CODES = jnp.arange(16).astype(jnp.uint4).reshape(4, 4)
HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  folder = tmp_path_factory.mktemp('checkpoints')
  tree = {'a': {'kernel': CODES, 'scale': jnp.ones(4)}, 'b': CODES.astype(jnp.int4)}
  options = dict(keep_last=1, keep_best=0, best_metric='loss', asynchronous=False)
  with manager.Checkpoints(folder, **options) as store:
    store.save(3, {'params': tree}, {})
  return folder


def test_codes_come_back_bit_for_bit(saved):
  with reader.CheckpointReader(saved) as store:
    wanted = store.abstract(3, 'params', HERE)
    assert wanted['a']['kernel'].dtype == jnp.uint4
    assert wanted['b'].dtype == jnp.int4
    found = store.restore(3, {'params': wanted})['params']
  assert found['a']['kernel'].dtype == jnp.uint4
  np.testing.assert_array_equal(found['a']['kernel'].astype(jnp.int32), CODES)
  np.testing.assert_array_equal(found['b'].astype(jnp.int32), CODES.astype(jnp.int4))


def test_some_of_them_come_back_alone(saved):
  wanted = {'a/kernel': jax.ShapeDtypeStruct((4, 4), jnp.uint4, sharding=HERE)}
  with reader.CheckpointReader(saved) as store:
    found = store.restore_leaves(3, 'params', wanted)
  np.testing.assert_array_equal(found['a/kernel'].astype(jnp.int32), CODES)


def test_they_are_not_taken_for_signed_ones(saved):
  wanted = {'a/kernel': jax.ShapeDtypeStruct((4, 4), jnp.int4, sharding=HERE)}
  with reader.CheckpointReader(saved) as store:
    with pytest.raises(CheckpointError, match='uint4'):
      store.restore_leaves(3, 'params', wanted)
