"""A write over a version, by stores that differ in how they take its ETag."""

import datetime
import hashlib

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import bucket_paths, versions

PATH = 's3://my-bucket/run/lock.json'


class Failed(Exception):
  """As botocore's, with the code of a store."""

  def __init__(self, code):
    self.response = {'Error': {'Code': code}}


class Store:
  """One object behind the calls of s3fs; `heeds` says what a write's ETag is worth."""

  def __init__(self, heeds):
    self._heeds, self.content = heeds, None

  @property
  def _etag(self):
    return f'"{hashlib.md5(self.content).hexdigest()}"'

  def info(self, path):
    if self.content is None:
      raise FileNotFoundError(path)
    now = datetime.datetime.now(datetime.UTC)
    return {'ETag': self._etag, 'LastModified': now}

  def cat_file(self, path):
    return self.content

  def rm_file(self, path):
    self.content = None

  def call_s3(self, method, *, Bucket, Key, Body, IfMatch='', IfNoneMatch=''):
    if IfNoneMatch and self.content is not None:
      raise Failed('PreconditionFailed')
    if IfMatch and self.content is None:
      raise Failed('NoSuchKey')
    if IfMatch and not self._heeds(IfMatch, self._etag):
      raise Failed('PreconditionFailed')
    self.content = Body


STORES = {
  'quoted, as Amazon': lambda condition, etag: condition.strip('"') == etag.strip('"'),
  'bare, as Ceph': lambda condition, etag: condition == etag.strip('"'),
}


@pytest.fixture
def opened(monkeypatch):
  def install(heeds):
    store = Store(heeds)
    for module in (versions, bucket_paths):
      monkeypatch.setattr(module, 'file_system', lambda scheme: store)
    return store

  return install


@pytest.mark.parametrize('heeds', STORES.values(), ids=STORES)
def test_a_version_is_written_over_once_whatever_the_quotes(opened, heeds):
  store = opened(heeds)
  first = versions.write_if(PATH, b'1', versions.ABSENT)
  assert first and versions.write_if(PATH, b'2', versions.ABSENT) is None
  assert versions.write_if(PATH, b'3', first.version)
  assert versions.write_if(PATH, b'4', first.version) is None
  assert store.content == b'3'
  versions.remove(PATH)
  assert versions.write_if(PATH, b'5', first.version) is None and store.content is None
  versions.require_conditions(PATH)


def test_a_store_that_takes_any_etag_is_refused(opened):
  opened(lambda condition, etag: True)
  with pytest.raises(StorageError, match='does not heed If-Match'):
    versions.require_conditions(PATH)
