"""Copies of a bucket's files on this machine, for libraries that read a disk alone."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
import uuid

from gpt_jax.storage import bucket_paths, scratch
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote


@contextlib.contextmanager
def copied(path):
  """Gives a local path with what is at `path`, a file or folder, while the block runs.

  A local path is given as it is. FileNotFoundError where there is nothing.
  """
  if not is_remote(path):
    yield path
    return
  path = place(path)
  with tempfile.TemporaryDirectory(prefix='gpt_jax_') as folder:
    target = pathlib.Path(folder) / path.name
    if path.is_dir():
      for name, _ in bucket_paths.files_below(path):
        file = target / place(name).relative_to(path).as_posix()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bucket_paths.read(name))
    else:
      target.write_bytes(bucket_paths.read(path))
    yield target


def kept(path):
  """Returns the local copy of a remote file, made now unless it is there as it is now.

  It stays in `scratch.folder('files')`, under the file's name, and is never written
  again: a file of other content has another copy.
  """
  path = place(path)
  described = f'{path} {bucket_paths.version_of(path)}'
  key = hashlib.sha256(described.encode()).hexdigest()[:20]
  target = scratch.folder('files') / key / path.name
  if not target.exists():
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f'{target.name}.{uuid.uuid4().hex[:8]}.tmp')
    try:
      with path.open('rb') as source, open(fresh, 'wb') as file:
        while block := source.read(bucket_paths.READ_BYTES):
          file.write(block)
      os.replace(fresh, target)
    finally:
      fresh.unlink(missing_ok=True)
  return target


def kept_folder(path):
  """Returns the local copy of all files below a remote folder; see `kept`."""
  path = place(path)
  listed = [
    (place(name).relative_to(path).as_posix(), bucket_paths.version_of(name))
    for name, _ in bucket_paths.files_below(path)
  ]
  key = hashlib.sha256(repr((str(path), listed)).encode()).hexdigest()[:20]
  target = scratch.folder('files') / key / path.name
  if not target.exists():
    fresh = target.with_name(f'{target.name}.{uuid.uuid4().hex[:8]}.tmp')
    fresh.mkdir(parents=True)
    with copied(path) as found:
      shutil.copytree(found, fresh, dirs_exist_ok=True)
    with contextlib.suppress(OSError):  # another process was first
      fresh.rename(target)
    shutil.rmtree(fresh, ignore_errors=True)
  return target
