"""The files of a task: looked up where those of `data.path` are, and copied here."""

import os
import pathlib

from gpt_jax.core.errors import DataError
from gpt_jax.core.registry import nearest
from gpt_jax.data import files


def find(names, data_dir):
  """Returns the paths of files, folders and globs, in the order of `names`.

  Relative ones are looked up in data_dir, $GPT_JAX_DATA and the working directory; URLs
  of buckets give copies on this machine. Raises DataError for what is not there, saying
  where it was looked for.
  """
  found = []
  for name in names:
    if not isinstance(name, str) or not name:
      raise DataError(f'task.files: {name!r} is no path; give the path of a file.')
    found += _found(name, data_dir)
  return found


def _found(name, data_dir):
  candidates = files.candidates(name, data_dir)
  for candidate in candidates:
    if isinstance(candidate, pathlib.Path) and candidate.is_dir():
      return [candidate]
    if there := [path for path, _ in files.search(candidate, ())]:
      return files.local(there)
  looked = ', '.join(str(candidate) for candidate in candidates)
  raise DataError(
    f'task.files: {name}: no such file ({looked}){_hint(candidates)} Give another'
    ' path, or set data.data_dir or GPT_JAX_DATA to the folder that it is below.'
  )


def _hint(candidates):
  """Returns the nearest file that is there in place of one that is not."""
  for candidate in candidates:
    folder = os.path.dirname(candidate)
    if os.path.isdir(folder):
      if near := nearest(os.path.basename(candidate), os.listdir(folder)):
        return f'; did you mean {os.path.join(folder, near)}?'
  return '.'
