"""A fingerprint of the files of a task, so that a resume notices other data."""

import hashlib

from gpt_jax.core.errors import DataError
from gpt_jax.examples import finding, formats, tfds


def of_files(files, reader, *, data_dir=''):
  """Returns the sha256, in hex, of all content of `files`, as `splits.load` has them.

  Splits and the order of files count, their names and folders do not; of a TFDS set
  count name, version, and names and sizes of its shards.
  """
  digest = hashlib.sha256()
  for split in sorted(files):
    names = [files[split]] if isinstance(files[split], str) else list(files[split])
    digest.update(f'{split} {len(names)}\n'.encode())
    for part in _parts(names, reader, data_dir):
      digest.update(f'{part}\n'.encode())
  return digest.hexdigest()


def _parts(names, reader, data_dir):
  if getattr(formats.reader_for(names, reader), 'takes_names', False):
    return [tfds.fingerprint(name, data_dir) for name in names]
  return [
    _digest(path)
    for found in finding.find(names, data_dir)
    for path in (sorted(found.glob('*.csv')) if found.is_dir() else [found])
  ]


def _digest(path):
  try:
    with open(path, 'rb') as file:
      return hashlib.file_digest(file, 'sha256').hexdigest()
  except OSError as error:
    raise DataError(f'{path} cannot be read: {error.strerror or error}.') from error
