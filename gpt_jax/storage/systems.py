"""The fsspec file systems that read buckets, set up once."""

import functools
import importlib
import logging
import os

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


@functools.cache
def file_system(scheme):
  """Returns the fsspec file system of `scheme`; one for all that this process does."""
  import fsspec

  prepare(scheme)
  return fsspec.filesystem('gcs' if scheme == 'gs' else scheme)
