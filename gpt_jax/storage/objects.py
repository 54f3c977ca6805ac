"""Small files and folders, in a local folder or a bucket, by the same calls.

A path is that of `urls.place`. A failure is an OSError locally and a StorageError in a
bucket; what is not there is FileNotFoundError in both.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import shutil

from gpt_jax.storage import bucket_paths, systems
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote


def files_below(folder):
  """Returns [(path, size)] of all files below `folder`, by name."""
  if not is_remote(folder):
    found = []
    for path in sorted(pathlib.Path(folder).rglob('*')):
      with contextlib.suppress(FileNotFoundError):  # removed meanwhile
        if path.is_file():
          found.append((path, path.stat().st_size))
    return found
  return [(place(name), size) for name, size in bucket_paths.files_below(folder)]


def file_size(path):
  """Returns the bytes of a file; FileNotFoundError where there is none."""
  status = place(path).stat()
  return status.length if is_remote(path) else status.st_size


def changed_at(path):
  """Returns when a file was written, in seconds since 1970; 0 of a remote folder."""
  status = place(path).stat()
  return status.mtime if is_remote(path) else status.st_mtime


def open_plain(path, size):
  """Returns a file opened to read bytes; OSError for a link.

  `size` is that of a listing, which a bucket then need not be asked for.
  """
  if is_remote(path):
    return bucket_paths.open_sized(path, size)
  return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), 'rb')


def is_folder(path):
  """Returns whether a folder is there; False too for a name that no system can hold."""
  return place(path).is_dir() if is_remote(path) else os.path.isdir(path)


def names_in(folder):
  """Returns the sorted names of what is in `folder`, [] where there is none."""
  folder = place(folder)
  if not is_remote(folder):
    return sorted(os.listdir(folder)) if folder.is_dir() else []
  try:
    return sorted(path.name for path in folder.iterdir())
  except FileNotFoundError:
    return []


def remove_tree(folder):
  """Removes `folder` with all in it, if it is there."""
  if not is_remote(folder):
    shutil.rmtree(folder, ignore_errors=True)
  else:
    place(folder).rmtree(missing_ok=True)


def is_whole(step_folder):
  """Returns whether a step of a run was committed: its name, or its last object."""
  if is_remote(step_folder):
    return (place(step_folder) / bucket_paths.COMMIT).exists()
  return os.path.isdir(step_folder)


def append_text(path, text):
  """Adds `text` to the end of a small file that this process alone writes."""
  if not is_remote(path):
    with open(path, 'a', encoding='utf-8') as file:
      file.write(text)
    return
  path = place(path)
  before = path.read_text() if path.exists() else ''
  path.write_text(before + text)


def read_each(read, items, folder):
  """Returns [read(item) for all `items`], several at once where `folder` is remote."""
  if not is_remote(folder):
    return [read(item) for item in items]
  with concurrent.futures.ThreadPoolExecutor(systems.connections()) as pool:
    return list(pool.map(read, items))


def upload(folder, target, last=''):
  """Copies all files below the local `folder` to the remote `target`, `last` last."""
  paths = [path for path, _ in files_below(folder)]
  for path in sorted(paths, key=lambda path: path.name == last):
    name = path.relative_to(folder).as_posix()
    bucket_paths.upload(path, place(target) / name)
