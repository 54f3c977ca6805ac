"""Small files that are whole or absent, and the check that a folder can be written.

Failures raise StorageError naming the path, the reason and what to do.
"""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import tempfile
import uuid

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import places
from gpt_jax.storage.urls import is_remote

BUCKETS = ('gs', 's3', 'az', 'hf')  # folders of the root that Orbax takes for them


def as_folder(directory):
  """Returns the path of `directory`, absolute; ConfigError unless it names a folder."""
  return places.place(directory)


def check_writable(directory):
  """Returns `directory` as an absolute path, created; StorageError if not writable."""
  directory = as_folder(directory)
  require_usable_name(directory)
  if is_remote(directory):
    probe = directory / f'.{uuid.uuid4().hex}.tmp'
    probe.write_bytes(b'x')
    probe.unlink(missing_ok=True)
    return directory
  try:
    directory.mkdir(parents=True, exist_ok=True)
    # A file without a name: a process that is killed meanwhile leaves none.
    with tempfile.TemporaryFile(dir=directory) as file:
      file.write(b'x' * 4096)
      file.flush()
      os.fsync(file.fileno())
  except OSError as error:
    raise StorageError(
      f'cannot write in {directory} ({error.strerror or error}); make it writable, free'
      ' some space, or give another folder.'
    ) from error
  return directory


def check_writable_early(directory):
  """Raises StorageError where `check_writable` is sure to fail; writes nothing."""
  existing = as_folder(directory)
  require_usable_name(existing)
  if is_remote(existing):
    existing.exists()  # raises for a bucket that cannot be reached
    return
  try:
    while not existing.exists():
      existing = existing.parent
    if not existing.is_dir():
      raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    is_read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
    code = errno.EROFS if is_read_only else errno.EACCES
    if not os.access(existing, os.W_OK | os.X_OK):
      raise OSError(code, os.strerror(code))
  except OSError as error:
    raise StorageError(
      f'cannot write in {directory} ({error.strerror or error}: {existing}); make it'
      ' writable, or give another folder.'
    ) from error


def require_usable_name(directory):
  """Raises StorageError for a folder that the checkpoint libraries take for another."""
  if is_remote(directory):
    return
  path = pathlib.Path(directory)
  bucket = next((name for name in BUCKETS if path.is_relative_to(f'/{name}')), None)
  if bucket:
    problem = f'Orbax takes /{bucket}/ for a bucket'
  elif '\\' in str(path):
    problem = 'TensorStore takes a backslash for a slash'
  elif str(path) != str(path).encode(errors='replace').decode():
    problem = 'TensorStore needs a name in UTF-8'
  else:
    return
  raise StorageError(
    f'{str(path)!r} cannot hold checkpoints: {problem}; give another folder, or a'
    ' symbolic link to this one.'
  )


def write_text(path, text):
  """Replaces `path` by `text` atomically; it is on the disk when this returns."""
  path = places.place(path)
  if is_remote(path):
    path.write_text(text)
    return
  scratch = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.tmp')
  try:
    with open(scratch, 'w', encoding='utf-8') as handle:
      handle.write(text)
      handle.flush()
      os.fsync(handle.fileno())
    os.replace(scratch, path)
    sync_folder(path.parent)
  except OSError as error:
    with contextlib.suppress(OSError):
      scratch.unlink()
    raise StorageError(
      f'cannot write {path} ({error.strerror or error}); make its folder writable, free'
      ' some space, or give another folder.'
    ) from error


def write_json(path, value):
  """Replaces `path` by `value` as JSON; ValueError when it holds NaN or infinity."""
  write_text(path, json.dumps(value, indent=2, allow_nan=False) + '\n')


def read_json(path):
  """Returns the value in the JSON file `path`; StorageError when it cannot be read."""
  try:
    return json.loads(places.place(path).read_text(encoding='utf-8'))
  except OSError as error:
    raise StorageError(f'cannot read {path} ({error.strerror or error}).') from error
  except ValueError as error:
    raise StorageError(
      f'{path} is not valid JSON ({error}); restore it from a copy, or move it away.'
    ) from error


def free_megabytes(directory):
  """Returns the free space for `directory`, as `123.4 MB`, or `unknown`."""
  if is_remote(directory):
    return 'unknown'
  try:
    return f'{shutil.disk_usage(directory).free / 1e6:.1f} MB'
  except OSError:
    return 'unknown'


def sync_folder(folder):
  """Makes a rename in `folder` survive a power cut, where the system supports it."""
  if is_remote(folder):
    return  # an object is there for good once it was acknowledged
  handle = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(handle)
  except OSError:
    pass  # some network file systems cannot sync a folder; the rename itself holds
  finally:
    os.close(handle)
