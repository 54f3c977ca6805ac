"""A folder for others that is complete or absent."""

import contextlib
import os
import pathlib
import shutil

from gpt_jax.core.errors import StorageError


@contextlib.contextmanager
def new_folder(out):
  """Gives a scratch folder that becomes `out` at the end; nothing is left of a failure.

  Raises StorageError for an `out` with files, and for one that cannot be written.
  """
  out = pathlib.Path(out).absolute()
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise StorageError(f'{out}: is there already; give a new folder.')
  scratch = out.with_name(f'.{out.name}.{os.getpid()}.partial')
  try:
    scratch.mkdir(parents=True)
    yield scratch
    if out.exists():
      out.rmdir()
    scratch.rename(out)
  except BaseException as error:
    shutil.rmtree(scratch, ignore_errors=True)
    if isinstance(error, OSError):
      raise StorageError(
        f'{out.parent}: cannot be written ({error.strerror or error}); free some'
        ' space, or give another folder.'
      ) from error
    raise
