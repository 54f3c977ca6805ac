"""Writes that succeed only over the version that was read: the lock of a bucket.

GCS calls a version a generation (`ifGenerationMatch`), S3 an ETag (`If-Match`).
"""

import dataclasses
import datetime
import uuid

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import bucket_paths
from gpt_jax.storage.failures import code_of, explain
from gpt_jax.storage.patience import patiently
from gpt_jax.storage.places import place
from gpt_jax.storage.systems import file_system
from gpt_jax.storage.urls import bucket_and_key, scheme_of

ABSENT = ''
"""The version of an object that is not there."""


@dataclasses.dataclass(frozen=True)
class Version:
  """An object as it was: content, version, and time by the clock of the store."""

  content: bytes
  version: str
  changed: datetime.datetime


def read(path):
  """Returns the Version of an object, None where there is none."""

  def once(system, at):
    while True:
      info = system.info(at)
      content = system.cat_file(at)
      if _version(info) == _version(system.info(at)):  # none was written between
        return Version(content, _version(info), _changed(info))

  try:
    return bucket_paths.call(path, once)
  except FileNotFoundError:
    return None


def write_if(path, content, version):
  """Returns the Version written over `version`, or where it is ABSENT; else None.

  A request whose answer was lost is made again, and then finds its own version there:
  `content` has to be unlike that of any other writer.
  """
  write = {'gs': _write_gs, 's3': _write_s3}[scheme_of(path)]
  try:
    patiently(lambda: write(path, content, version), path)
  except FileExistsError:
    pass  # another's version, or ours that was answered by a cut connection
  except FileNotFoundError as error:  # the bucket is what is not there
    raise explain(error, path) from error
  # Stores that ignore the condition exist: what is there now decides.
  found = read(path)
  return found if found is not None and found.content == content else None


def require_conditions(folder):
  """Raises StorageError where a store of S3's kind does not heed the conditions.

  Google and Amazon do; others may write all the same, and two runs would have one lock.
  """
  if scheme_of(folder) != 's3':
    return
  path = place(folder) / f'.conditions.{uuid.uuid4().hex}.tmp'
  first = write_if(path, b'first', ABSENT)
  over_any = write_if(path, b'second', ABSENT)
  over_another = write_if(path, b'third', '"0"')
  remove(path)
  if first is None or over_any or over_another:
    ignored = 'If-None-Match' if first is None or over_any else 'If-Match'
    raise StorageError(
      f'{folder}: this store does not heed {ignored} when it writes, so two runs could'
      ' have this workdir; use a store that does (Amazon S3 does), gs://, or a disk.'
    )


def remove(path):
  """Removes an object; one that is gone is no error."""
  try:
    bucket_paths.call(path, lambda system, at: system.rm_file(at))
  except FileNotFoundError:
    pass


def _write_gs(path, content, version):
  system = file_system('gs')
  bucket, key = bucket_and_key(path)
  system.call(
    'POST',
    f'{system._location}/upload/storage/v1/b/{bucket}/o',
    uploadType='media',
    name=key,
    ifGenerationMatch=version or '0',
    headers={'Content-Type': 'application/octet-stream'},
    data=content,
  )


def _write_s3(path, content, version):
  if not version:
    _put_s3(path, content, IfNoneMatch='*')
    return
  try:
    _put_s3(path, content, IfMatch=version)
  except FileExistsError:  # or a store that takes no quotes, as Ceph
    _put_s3(path, content, IfMatch=version.strip('"'))


def _put_s3(path, content, **condition):
  """Writes an object; FileExistsError where `condition` is not met."""
  bucket, key = bucket_and_key(path)
  try:
    file_system('s3').call_s3(
      'put_object', Bucket=bucket, Key=key, Body=content, **condition
    )
  except Exception as error:
    # NoSuchKey: what was to be written over is gone.
    if code_of(error) in ('PreconditionFailed', '412', 'NoSuchKey'):
      raise FileExistsError(path) from error
    raise


def _version(info):
  return str(info.get('generation') or info.get('ETag'))


def _changed(info):
  return info.get('mtime') or info['LastModified']
