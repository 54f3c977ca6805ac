"""Arrays in `s3://` folders, which Orbax 0.12 takes for folders of the disk.

All of Orbax asks one function where arrays lie. TensorStore has a driver for S3: here
that function gets to know it.
"""

import inspect

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint._src.serialization import tensorstore_utils

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import kvstore
from gpt_jax.storage.urls import scheme_of

OBJECT_BYTES = 1 << 30
"""Of a part of an array: S3 takes 5 GB in one request, and TensorStore makes one."""

_orbax_spec = tensorstore_utils.build_kvstore_tspec


def install(directory):
  """Makes Orbax use arrays below an `s3://` folder; StorageError if it cannot."""
  tensorstore_utils.build_kvstore_tspec = _spec
  if problem := _why_unknown(directory):
    raise StorageError(
      f'orbax-checkpoint {ocp.__version__} writes no arrays to S3 ({problem}); install'
      ' orbax-checkpoint 0.12, or give gs://, or a folder of a disk.'
    )


def in_parts(tree):
  """Returns Orbax's options to save each array of `tree` in objects that S3 takes."""
  return jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=OBJECT_BYTES), tree)


def _spec(directory, name=None, *, use_ocdbt=True, **options):
  """As Orbax' build_kvstore_tspec: the JSON spec of a store, for `name` in it."""
  if scheme_of(directory) != 's3':
    return _orbax_spec(directory, name, use_ocdbt=use_ocdbt, **options)
  if use_ocdbt:
    raise StorageError(
      f'{directory}: a database of arrays, which gpt-jax writes to no bucket; copy this'
      ' checkpoint to a disk.'
    )
  found = kvstore.spec(directory)
  return found | {'path': f'{found["path"]}{name or ""}'}


def _why_unknown(directory):
  """Returns what has changed in Orbax since 0.12, '' where nothing has."""
  wanted = ('directory', 'name', 'use_ocdbt')
  if tuple(inspect.signature(_orbax_spec).parameters)[:3] != wanted:
    return 'build_kvstore_tspec has other arguments'
  read = tensorstore_utils.ArrayReadSpec(
    str(directory), 'array', use_zarr3=False, use_ocdbt=False
  )
  if read.json['kvstore'].get('driver') != 's3':
    return 'build_kvstore_tspec is no longer asked where arrays lie'
  return ''
