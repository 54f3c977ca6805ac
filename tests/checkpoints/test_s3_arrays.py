"""Orbax names TensorStore's driver for arrays in S3, and its own for all else."""

import pytest
from orbax.checkpoint._src.serialization import tensorstore_utils

from gpt_jax.checkpoints import s3_arrays
from gpt_jax.core.errors import StorageError
from gpt_jax.storage import kvstore, objects
from gpt_jax.storage.places import place
from tests import tiny_runs
from tests.checkpoints import test_bucket_checkpoints as checkpoints

FOLDER = 's3://my-bucket/run/checkpoints/3/params'


@pytest.fixture
def installed(monkeypatch):
  build = tensorstore_utils.build_kvstore_tspec
  monkeypatch.setattr(tensorstore_utils, 'build_kvstore_tspec', build)  # put back
  monkeypatch.setattr(kvstore, '_s3_settings', lambda bucket: {'aws_region': 'x'})
  s3_arrays.install(FOLDER)


def spec(directory):
  place = (directory, 'a.kernel')
  read = tensorstore_utils.ArrayReadSpec(*place, use_zarr3=False, use_ocdbt=False)
  shape = dict(global_shape=(4,), write_shape=(2,), dtype='float32')
  written = tensorstore_utils.ArrayWriteSpec(*place, **shape, use_ocdbt=False)
  assert read.json['kvstore'] == written.json['kvstore']
  return read.json['kvstore']


def test_arrays_in_s3_are_written_and_read_by_its_driver(installed):
  assert spec(FOLDER) == {
    'driver': 's3',
    'bucket': 'my-bucket',
    'path': 'run/checkpoints/3/params/a.kernel',
    'aws_region': 'x',
  }


def test_arrays_elsewhere_are_where_orbax_puts_them(installed):
  assert spec('/run/3') == {'driver': 'file', 'path': '/run/3/a.kernel'}
  assert spec('gs://my-bucket/3')['driver'] == 'gcs'


def test_a_database_in_s3_is_refused(installed):
  with pytest.raises(StorageError, match='database of arrays'):
    tensorstore_utils.build_kvstore_tspec(FOLDER)


def test_another_orbax_is_refused_by_its_version(installed, monkeypatch):
  class Spec:
    json = {'kvstore': {'driver': 'file'}}

    def __init__(self, *place, **options):
      pass

  monkeypatch.setattr(tensorstore_utils, 'ArrayReadSpec', Spec)
  with pytest.raises(StorageError, match='writes no arrays to S3 .* no longer asked'):
    s3_arrays.install(FOLDER)


@pytest.mark.slow
@pytest.mark.parametrize('bucket', ['s3'], indirect=True)
def test_a_large_shard_is_saved_in_parts(bucket, monkeypatch):
  monkeypatch.setattr(s3_arrays, 'OBJECT_BYTES', 64)
  with checkpoints.opened(bucket[0]) as store:
    saved = checkpoints.save(store, 1)
  kernel = place(bucket[0]) / '1' / 'params' / 'block.kernel'
  parts = [size for path, size in objects.files_below(kernel) if path.name != '.zarray']
  assert len(parts) >= 8 * 192 / 64  # 8 shards of 192 bytes
  with checkpoints.CheckpointReader(bucket[0]) as store:
    restored = checkpoints.restored(store, 1)
  tiny_runs.assert_same(tiny_runs.named(restored), tiny_runs.named(saved))
