"""How TensorStore, which Orbax keeps arrays in, names a folder or a bucket."""

import functools
import os
import urllib.parse
import uuid

from gpt_jax.core.errors import StorageError
from gpt_jax.storage.failures import CREDENTIALS
from gpt_jax.storage.patience import patiently
from gpt_jax.storage.systems import file_system
from gpt_jax.storage.urls import bucket_and_key, is_remote, scheme_of

ANSWER_SECONDS = 60.0
"""TensorStore itself would try for a quarter of an hour."""
RETRIES = {'initial_delay': '250ms', 'max_retries': 8}
"""After 1/4, 1/2, 1, ... seconds: for a minute, as what is written by other ways."""


def spec(folder):
  """Returns the JSON spec of TensorStore's key-value store for `folder`."""
  if not is_remote(folder):
    return {'driver': 'file', 'path': f'{folder}/'}
  bucket, key = bucket_and_key(folder)
  if scheme_of(folder) == 'gs':
    return {'driver': 'gcs', 'bucket': bucket, 'path': f'{key}/'}
  return {'driver': 's3', 'bucket': bucket, 'path': f'{key}/'} | _s3_settings(bucket)


def check_access(folder, *, writing):
  """Raises StorageError where TensorStore cannot read, and write, in a remote `folder`.

  It finds credentials by itself: that files can be written there says nothing of
  arrays, and a save fails late.
  """
  if not is_remote(folder):
    return
  import tensorstore as ts  # takes a while to load

  key = f'.{uuid.uuid4().hex}.tmp'

  def once():
    try:
      store = ts.KvStore.open(spec(folder)).result(ANSWER_SECONDS)
      if writing:
        store.write(key, b'x').result(ANSWER_SECONDS)
      store.read(key).result(ANSWER_SECONDS)
      if writing:
        store.write(key, None).result(ANSWER_SECONDS)
    except TimeoutError as error:
      raise StorageError(
        f'{folder}: TensorStore, which writes arrays, had no answer for'
        f' {ANSWER_SECONDS:.0f} s; check the network and the status of the service.'
      ) from error

  patiently(once, folder)


@functools.cache
def _s3_settings(bucket):
  """Returns endpoint, region and credentials: those that s3fs has found."""
  # TensorStore takes credentials that it does not find for anonymous access.
  system = file_system('s3')
  answer = system.call_s3('head_bucket', Bucket=bucket)
  client, settings = system.s3.meta, {'s3_request_retries': RETRIES}
  settings['aws_region'] = answer.get('BucketRegion') or client.region_name
  address = urllib.parse.urlsplit(client.endpoint_url).hostname or ''
  if not address.endswith('.amazonaws.com'):
    settings['endpoint'] = client.endpoint_url
  return settings | _s3_credentials(system)


def _s3_credentials(system):
  """Returns where TensorStore has to look, {} for all that it can do by itself."""
  from fsspec import asyn

  if system.anon:
    return {'aws_credentials': {'type': 'anonymous'}}
  session = system.session
  found = asyn.sync(system.loop, session.get_credentials)
  if found is None:
    raise StorageError(
      f's3://: s3fs has credentials, TensorStore would have none; {CREDENTIALS["s3"]}.'
    )
  if found.method == 'env':
    return {'aws_credentials': {'type': 'environment'}}
  if found.method not in ('shared-credentials-file', 'config-file'):
    return {}  # roles of machines and users
  # TensorStore 0.1.86 looks for what is not named in a file and a profile called ''.
  settings = {'type': 'profile', 'profile': session.profile or 'default'}
  for name in ('credentials_file', 'config_file'):
    file = os.path.expanduser(session.get_config_variable(name))
    settings[name] = file if os.path.exists(file) else os.devnull
  return {'aws_credentials': settings}
