"""What `epath.Path('gs://...')` does, here and inside Orbax: patient, and never wrong.

etils' own backend takes every failure of `exists` and `is_dir` for a no: a run whose
network is down would begin again. Here a failure that does not pass is a StorageError.
"""

import concurrent.futures
import contextlib
import io
import os
from typing import Any, NamedTuple

from etils.epath import backend, gpath, stat_utils

from gpt_jax.core.errors import StorageError
from gpt_jax.storage.failures import code_of, explain
from gpt_jax.storage.patience import patiently
from gpt_jax.storage.systems import connections, file_system
from gpt_jax.storage.urls import scheme_of

COMMIT = 'commit_success.txt'
"""Orbax's last object of a step: while it is there, all others are."""
READ_BYTES = 1 << 22  # asked for at once


class Buckets(backend.Backend):
  """The operations of `epath.Path` on fsspec's file systems of `urls.SCHEMES`."""

  def open(self, path, mode):
    if 'r' in mode:
      return _reader(path, 'b' in mode)
    if 'a' in mode:
      raise io.UnsupportedOperation(f'{path}: nothing can be appended to an object')
    content = _Upload(path)
    return content if 'b' in mode else io.TextIOWrapper(content, encoding='utf-8')

  def exists(self, path):
    return _info(path) is not None

  def isdir(self, path):
    info = _info(path)
    return info is not None and info['type'] == 'directory'

  def listdir(self, path):
    found = call(path, lambda fs, at: fs.ls(at, detail=False))
    own = os.fspath(path).partition('://')[2].rstrip('/')
    names = (name.rstrip('/') for name in found)
    return [name.rpartition('/')[2] for name in names if name != own]

  def glob(self, path):
    found = call(path, lambda fs, at: fs.glob(at))
    return [f'{scheme_of(path)}://{name}' for name in found]

  def walk(self, top, *, top_down=True, on_error=None):
    for root, folders, names in file_system(scheme_of(top)).walk(os.fspath(top)):
      yield f'{scheme_of(top)}://{root}', folders, names

  def makedirs(self, path, *, exist_ok=False, mode=None):
    """Does nothing: a folder is there as long as an object in it is."""

  mkdir = makedirs

  def rmtree(self, path):
    names = [name for name, _ in files_below(path)]
    if not names:
      raise FileNotFoundError(path)
    # What makes a step one goes first: a half-deleted step is no step.
    for name in [name for name in names if name.endswith(f'/{COMMIT}')]:
      self.remove(name)
      names.remove(name)
    remove_all(path, names)

  def remove(self, path):
    # One that is gone is no error: the answer to an earlier try may have been lost.
    with contextlib.suppress(FileNotFoundError):
      call(path, lambda fs, at: fs.rm_file(at))

  def rename(self, path, dst):
    if self.exists(dst):
      raise FileExistsError(f'{dst}: is already there')
    copy_tree(path, dst)
    self.rmtree(path)

  def replace(self, path, dst):
    copy_tree(path, dst)
    self.rmtree(path)

  def copy(self, path, dst, overwrite):
    if not overwrite and self.exists(dst):
      raise FileExistsError(f'{dst}: is already there')
    call(path, lambda fs, at: fs.cp_file(at, os.fspath(dst)))

  def stat(self, path):
    info = _info(path)
    if info is None:
      raise FileNotFoundError(path)
    changed = info.get('mtime') or info.get('LastModified')
    return stat_utils.StatResult(
      is_directory=info['type'] == 'directory',
      length=info.get('size') or 0,
      mtime=int(changed.timestamp()) if changed else 0,
      owner=None,
      group=None,
      mode=None,
    )


def install():
  """Makes every `epath.Path` of a bucket work so, those that Orbax makes too."""
  buckets = Buckets()
  for scheme in ('gs', 's3'):
    gpath._PREFIX_TO_BACKEND[scheme] = buckets


def read(path, start=None, stop=None):
  """Returns the bytes of an object, or those from `start` to `stop`."""
  return call(path, lambda fs, at: fs.cat_file(at, start=start, end=stop))


class Object(NamedTuple):
  """What a store says of an object; `version` differs once it was written again."""

  path: str
  size: int
  version: str


def look_up(path):
  """Returns the Object at `path`; FileNotFoundError where there is none."""
  info = _info(path)
  if info is None or info['type'] == 'directory':
    raise FileNotFoundError(path)
  return _object(os.fspath(path), info)


def _object(path, info):
  version = info.get('generation') or info.get('ETag')
  return Object(path, info['size'], str(version))


def write(path, content):
  """Makes `content` the object at `path`, whole or not at all."""
  try:
    call(path, lambda fs, at: fs.pipe_file(at, bytes(content)))
  except FileNotFoundError as error:  # the bucket is what is not there
    raise explain(error, path) from error


def upload(file, path):
  """Makes the local `file` the object at `path`, whole or not at all."""
  try:
    call(path, lambda fs, at: fs.put_file(os.fspath(file), at))
  except FileNotFoundError as error:
    raise explain(error, path) from error


def listed(path):
  """Returns [Object] of all below `path`, or of the object itself, by name."""
  try:
    found = call(path, lambda fs, at: fs.find(at, detail=True))
  except FileNotFoundError as error:  # the bucket is what is not there
    raise explain(error, path) from error
  scheme = scheme_of(path)
  return [_object(f'{scheme}://{name}', info) for name, info in sorted(found.items())]


def contents(path):
  """Returns `listed(path)` without the empty objects that stand for folders."""
  return [one for one in listed(path) if not one.path.endswith('/')]


def files_below(path):
  """Returns [(path of an object, its size)] of all below `path`, by name."""
  return [(one.path, one.size) for one in listed(path)]


def copy_tree(path, target):
  """Copies an object, or all below `path`, inside the bucket, several at once.

  What makes a step one goes last.
  """
  names = [name for name, _ in files_below(path)]
  last = {name for name in names if name.endswith(f'/{COMMIT}')}

  def copy(name):
    to = os.fspath(target) + name.removeprefix(os.fspath(path))
    call(name, lambda fs, at: fs.cp_file(at, to))

  with concurrent.futures.ThreadPoolExecutor(connections()) as pool:
    for part in set(names) - last, last:
      list(pool.map(copy, sorted(part)))


def remove_all(path, names):
  """Removes the objects `names`; those that are gone already are no error."""

  def remove(fs, _):
    try:
      fs.rm(names)
    except FileNotFoundError:
      left = [name for name in names if _info(name) is not None]
      if left:
        fs.rm(left)

  if names:
    call(path, remove)


def _info(path):
  """Returns what the store says of an object or folder, None where there is none."""
  try:
    return call(path, lambda fs, at: fs.info(at))
  except FileNotFoundError:
    return None


def call(path, action) -> Any:
  """Returns `action(file system, path as text)`, tried again where that may help."""
  text = os.fspath(path)  # s3fs takes nothing else
  try:
    return patiently(lambda: action(file_system(scheme_of(path)), text), path)
  except StorageError as error:
    denied = code_of(error.__cause__) in (403, '403')
    if denied and scheme_of(path) == 's3':  # it says why, but not when asked by HEAD
      with contextlib.suppress(FileNotFoundError):
        patiently(lambda: file_system('s3').ls(text), path)
    raise


def open_sized(path, size):
  """Returns an object of `size` bytes, as it was listed, opened to read its ranges."""
  return io.BufferedReader(_Ranges(path, size), READ_BYTES)


def _reader(path, is_binary):
  if not is_binary:
    return io.TextIOWrapper(io.BytesIO(read(path)), encoding='utf-8')
  info = _info(path)
  if info is None or info['type'] == 'directory':
    raise FileNotFoundError(path)
  return open_sized(path, info['size'])


class _Ranges(io.RawIOBase):
  """An object as a file: each read is a request for a range of it."""

  def __init__(self, path, size):
    self._path, self._size, self._at = path, size, 0

  def readable(self):
    return True

  def seekable(self):
    return True

  def seek(self, offset, whence=0):
    self._at = offset + (0, self._at, self._size)[whence]
    return self._at

  def tell(self):
    return self._at

  def readinto(self, buffer):
    stop = min(self._at + len(buffer), self._size)
    if stop <= self._at:
      return 0
    content = read(self._path, self._at, stop)
    buffer[: len(content)] = content
    self._at += len(content)
    return len(content)


class _Upload(io.BytesIO):
  """A file that becomes an object when it is closed, whole or not at all."""

  def __init__(self, path):
    super().__init__()
    self._path = path

  def close(self):
    if not self.closed:
      try:
        write(self._path, self.getvalue())
      finally:
        super().close()
