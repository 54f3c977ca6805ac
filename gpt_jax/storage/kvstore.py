"""How TensorStore, which Orbax keeps arrays in, names a folder or a bucket."""

import os

from gpt_jax.storage.urls import bucket_and_key, is_remote, scheme_of


def spec(folder):
  """Returns the JSON spec of TensorStore's key-value store for `folder`."""
  if not is_remote(folder):
    return {'driver': 'file', 'path': f'{folder}/'}
  bucket, key = bucket_and_key(folder)
  if scheme_of(folder) == 'gs':
    return {'driver': 'gcs', 'bucket': bucket, 'path': f'{key}/'}
  return {'driver': 's3', 'bucket': bucket, 'path': f'{key}/'} | _s3_settings()


def _s3_settings():
  settings = {}
  if endpoint := os.environ.get('AWS_ENDPOINT_URL'):
    settings['endpoint'] = endpoint
  if region := os.environ.get('AWS_REGION') or os.environ.get('AWS_DEFAULT_REGION'):
    settings['aws_region'] = region
  return settings
