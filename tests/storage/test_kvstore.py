"""TensorStore looks where s3fs looks: endpoint, region and credentials of a bucket."""

import os
import types

import pytest
import tensorstore as ts

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import kvstore
from tests.storage.buckets import both

ENDPOINT = 'http://127.0.0.1:1'


class Known:
  """What `_s3_settings` reads of s3fs, with credentials found by `method`."""

  def __init__(self, method, *, endpoint=ENDPOINT, profile=None, anon=False):
    meta = types.SimpleNamespace(endpoint_url=endpoint, region_name='us-east-1')
    self.s3, self.anon = types.SimpleNamespace(meta=meta), anon
    self.session, self.profile, self._method = self, profile, method
    import fsspec.asyn

    self.loop = fsspec.asyn.get_loop()

  def call_s3(self, method, **options):
    return {'BucketRegion': 'eu-west-3'}

  async def get_credentials(self):
    return self._method and types.SimpleNamespace(method=self._method)

  def get_config_variable(self, name):
    return f'~/no-such-folder/{name}'


@pytest.fixture
def spec_of(monkeypatch):
  pytest.importorskip('fsspec', reason="fsspec: pip install -e '.[s3,test]' brings it")

  def spec(known):
    kvstore._s3_settings.cache_clear()
    monkeypatch.setattr(kvstore, 'file_system', lambda scheme: known)
    found = kvstore.spec('s3://my-bucket/a')
    ts.KvStore.Spec(found)  # ValueError for what it does not know
    return found

  yield spec
  kvstore._s3_settings.cache_clear()


def test_a_local_folder_and_gcs_have_no_settings():
  assert kvstore.spec('/a/b') == {'driver': 'file', 'path': '/a/b/'}
  gs = {'driver': 'gcs', 'bucket': 'my-bucket', 'path': 'a/'}
  assert kvstore.spec('gs://my-bucket/a') == gs


@pytest.mark.parametrize(
  'method, options, credentials',
  [
    ('env', {}, {'type': 'environment'}),
    ('iam-role', {}, None),
    ('sso', {'profile': 'mine'}, None),
    ('env', {'anon': True}, {'type': 'anonymous'}),
    (
      'shared-credentials-file', {'profile': 'mine'},
      {'type': 'profile', 'profile': 'mine', 'credentials_file': os.devnull,
       'config_file': os.devnull},
    ),
  ],
)  # fmt: skip
def test_tensorstore_finds_the_same_credentials(spec_of, method, options, credentials):
  found = spec_of(Known(method, **options))
  assert found['bucket'] == 'my-bucket' and found['path'] == 'a/'
  assert found['endpoint'] == ENDPOINT and found['aws_region'] == 'eu-west-3'
  assert found.get('aws_credentials') == credentials


def test_a_bucket_of_amazon_has_a_region_alone(spec_of):
  found = spec_of(Known('env', endpoint='https://s3.amazonaws.com'))
  assert 'endpoint' not in found and found['aws_region'] == 'eu-west-3'


def test_credentials_of_s3fs_alone_are_not_enough(spec_of):
  with pytest.raises(StorageError, match='TensorStore would have none'):
    spec_of(Known(None))


@pytest.mark.slow
@both
def test_what_tensorstore_may_not_do_is_told_at_once(bucket):
  kvstore.check_access(bucket[0], writing=True)
  bucket[1].refused = 'writes'
  kvstore.check_access(bucket[0], writing=False)
  with pytest.raises(StorageError, match='permission denied'):
    kvstore.check_access(bucket[0], writing=True)
  bucket[1].refused = 'all'
  with pytest.raises(StorageError, match='no valid credentials') as error:
    kvstore.check_access(bucket[0], writing=False)
  assert error.value.exit_code == 5
