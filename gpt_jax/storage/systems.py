"""The fsspec file systems that read buckets, set up once."""

import functools
import importlib
import logging
import os
from typing import Any

from gpt_jax.core.errors import ConfigError, require_extra
from gpt_jax.storage.urls import SCHEMES

# TensorFlow, where it is installed, would read buckets with settings of its own.
os.environ.setdefault('EPATH_USE_TF', 'false')


CONNECTIONS, EMULATOR_CONNECTIONS = 16, 4
"""Requests at once; one more than an emulator takes waits for a second."""


def connections():
  """Returns how many requests this process makes at once."""
  is_emulated = 'STORAGE_EMULATOR_HOST' in os.environ
  return EMULATOR_CONNECTIONS if is_emulated else CONNECTIONS


S3_TRIES = 2
"""Of a request by s3fs, each with those of botocore; `patience` makes further ones."""
S3_SETTINGS = {
  'connect_timeout': 10, 'read_timeout': 60, 'retries': {'max_attempts': 2},
}  # fmt: skip


@functools.cache
def prepare(scheme):
  """Loads what reads `scheme`; ConfigError names the extra that is not installed."""
  what, package, extra = SCHEMES[scheme]
  emulator = os.environ.get('STORAGE_EMULATOR_HOST')
  if scheme == 'gs':
    # Or gcsfs asks for the type of a bucket by gRPC, minutes long where none answers.
    os.environ.setdefault('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')
    if emulator:
      os.environ.setdefault('TENSORSTORE_GCS_HTTP_URL', emulator)
      limit = str(EMULATOR_CONNECTIONS)
      os.environ.setdefault('TENSORSTORE_GCS_REQUEST_CONCURRENCY', limit)
  try:
    fsspec = importlib.import_module('fsspec')
    importlib.import_module(package)
  except ImportError as error:
    needs = require_extra(extra, package)
    raise ConfigError(f'{scheme}:// ({what}) {needs}.') from error
  # Each failed try would be a traceback on the screen; `failures.explain` says it.
  logging.getLogger(package).setLevel(logging.CRITICAL)
  # No listing may be remembered: another process writes what this one looks for.
  protocol = 'gcs' if scheme == 'gs' else scheme
  settings = fsspec.config.conf.setdefault(protocol, {})
  settings['use_listings_cache'] = False
  if scheme == 's3':
    settings.setdefault('config_kwargs', S3_SETTINGS)


@functools.cache
def file_system(scheme) -> Any:  # s3fs has calls that gcsfs has not
  """Returns the fsspec file system of `scheme`; one for all that this process does."""
  prepare(scheme)
  if scheme == 'gs':
    from gpt_jax.storage.gcs_requests import GcsRequests

    return GcsRequests()
  import fsspec

  system = fsspec.filesystem(scheme)
  system.retries = S3_TRIES
  return system
