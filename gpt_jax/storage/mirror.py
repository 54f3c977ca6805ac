"""Copies of a bucket's files on this machine, for libraries that read a disk alone."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile

from gpt_jax.storage import bucket_paths, objects, scratch, scratch_space
from gpt_jax.storage.download import Copy, download, look_up_all
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import bucket_and_key, is_remote


@contextlib.contextmanager
def copied(path, names=None):
  """Gives a local path with what is at `path`, a file or folder, while the block runs.

  A local path is given as it is. `names`: of a folder only files called so; of a file
  also those beside it. FileNotFoundError where there is nothing.
  """
  if not is_remote(path):
    yield path
    return
  path = place(path)
  found = bucket_paths.contents(path)
  if not found:
    raise FileNotFoundError(path)
  root = path
  if os.fspath(path) == found[0].path:
    root = path.parent
    beside = [os.fspath(root / name) for name in names or () if name != path.name]
    found = found[:1] + [one for name in beside for one in bucket_paths.contents(name)]
  elif names is not None:
    found = [one for one in found if _below(one.path, path) in names]
  with tempfile.TemporaryDirectory(prefix='gpt_jax_') as folder:
    top = pathlib.Path(folder) / root.name
    copies = [Copy(one, top / _below(one.path, root)) for one in found]
    top.mkdir(exist_ok=True)
    download(copies, f'copying {path}')
    yield top if root == path else top / path.name


@contextlib.contextmanager
def written(folder):
  """Gives a local folder; what is written there is in `folder` when the block ends.

  A local folder is given as it is.
  """
  if not is_remote(folder):
    yield pathlib.Path(folder)
    return
  with tempfile.TemporaryDirectory(prefix='gpt_jax_') as here:
    yield pathlib.Path(here)
    objects.upload(here, folder)


def kept(path):
  """Returns the local copy of a remote file; see `kept_all`."""
  return kept_all([path])[0]


def kept_all(paths):
  """Returns local copies of remote files, made now unless they are there as now.

  They stay in `scratch.folder('files')` while this process runs, and until others need
  the space (`scratch_space.py`), below a folder named after version and URL. A copy is
  never written again: a file of other content has another one.
  """
  return _kept(look_up_all(paths))


def kept_folder(path, wanted=lambda name: True):
  """Returns a local folder with the files below a remote one that are `wanted`.

  `wanted(name)`, its path below the folder. They are links to copies by `kept_all`. Of
  the same content it is the same folder, whatever was wanted of it before.
  """
  path = place(path)
  found = bucket_paths.contents(path)
  folder = _entry(repr((str(path), found))) / path.name
  scratch_space.claim([folder.parent])
  chosen = [one for one in found if wanted(_below(one.path, path))]
  for one, copy in zip(chosen, _kept(chosen), strict=True):
    _link(folder / _below(one.path, path), copy)
  return folder


def _kept(found):
  """Returns the local copies of Objects."""
  scratch_space.claim([_folder(one) for one in found])
  if any(not _folder(one).exists() for one in found):
    key = hashlib.sha256(repr(sorted(found)).encode()).hexdigest()[:20]
    with scratch_space.alone(key):
      _copy_all([one for one in found if not _folder(one).exists()])
  return [_folder(one) / _name(one) for one in found]


def _copy_all(missing):
  """Copies Objects to their folders, each there once it is whole."""
  if not missing:  # another process was first
    return
  what = missing[0].path if len(missing) == 1 else f'{len(missing)} objects'
  scratch_space.reserve(sum(one.size for one in missing), what)
  copies = [Copy(one, _fresh(one) / _name(one)) for one in missing]

  def done(copy):
    with contextlib.suppress(OSError):  # another process was first
      _fresh(copy.source).rename(_folder(copy.source))

  try:
    download(copies, f'copying {what} to {scratch.folder("files")}', done)
  finally:
    for one in missing:
      shutil.rmtree(_fresh(one), ignore_errors=True)


def _folder(one):
  """Returns the folder of the copy of an Object."""
  return _entry(repr(one))


def _fresh(one):
  """Returns the folder in which this process makes the copy of an Object."""
  return _folder(one).with_name(f'{_folder(one).name}.{os.getpid()}.tmp')


def _name(one):
  """Returns where in its folder the copy is: by its name an error tells the object."""
  return '/'.join(bucket_and_key(one.path))


def _entry(described):
  """Returns the folder of what is `described`."""
  key = hashlib.sha256(described.encode()).hexdigest()[:20]
  return scratch.folder('files') / key


def _link(path, target):
  if path.is_symlink():
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  with contextlib.suppress(FileExistsError):  # another process was first
    path.symlink_to(os.path.relpath(target, path.parent))


def _below(name, folder):
  return name.removeprefix(f'{os.fspath(folder)}/')
