"""One writer in a workdir: a lock file that names its owner."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import sys

from gpt_jax.core.errors import StorageError
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files, lease, owners
from gpt_jax.workdir.owners import this_process

FILE = owners.LOCK_FILE
Owner = owners.Owner


@contextlib.contextmanager
def held(workdir, report=None):
  """Holds the lock of `workdir`, an existing folder, while the block runs.

  `report(text)` is called when the lock of a dead process was taken over (default:
  standard error). Raises StorageError naming the process that writes there now.
  """
  if is_remote(workdir):
    with lease.held(workdir, report) as mine:
      yield mine.me
    return
  path = pathlib.Path(workdir) / FILE
  me = this_process()
  previous = _acquire(path, me)
  if previous:
    (report or _print)(
      f'{path}: took over the lock of {previous}; that process has ended.'
    )
  try:
    yield me
  finally:
    if _read(path) == me:  # not one that was put there by hand
      with contextlib.suppress(OSError):
        path.unlink()


def owner(workdir):
  """Returns the Owner named in the lock of `workdir`, or None."""
  if is_remote(workdir):
    return lease.owner(workdir)
  return _read(pathlib.Path(workdir) / FILE)


def has_ended(other):
  """Returns whether it is sure, from here, that the process of an Owner has ended."""
  return other.has_ended(this_process())


def require_unlocked(workdir):
  """Raises StorageError naming the process that writes in `workdir`, if it may live."""
  if is_remote(workdir):
    lease.require_unlocked(workdir)
    return
  path, me = pathlib.Path(workdir) / FILE, this_process()
  other = _read(path)
  if (other is None and path.exists()) or (other and not other.has_ended(me)):
    raise _refusal(path, other, me)


def _acquire(path, me):
  """Returns the dead Owner whose lock was replaced, or None; raises StorageError."""
  # A hard link appears atomically with its content, also on NFS: of two starts one
  # wins. A dead owner is recognised on its own host only, where flock guards the
  # replacement of its lock.
  scratch = path.with_name(f'.{FILE}.{me.token}')
  try:
    files.write_text(scratch, json.dumps(dataclasses.asdict(me), indent=2) + '\n')
    while True:
      try:
        os.link(scratch, path)
        return None
      except FileExistsError:
        pass
      with _flock(path.parent):
        other = _read(path)
        if other is None and not path.exists():
          continue  # released this very moment
        if other is None or not other.has_ended(me):
          raise _refusal(path, other, me)
        os.replace(scratch, path)
        return other
  except OSError as error:
    raise StorageError(
      f'cannot lock {path.parent} ({error.strerror or error}); a workdir needs a file'
      ' system with hard links and file locks, such as a local disk.'
    ) from error
  finally:
    with contextlib.suppress(OSError):
      scratch.unlink()


def _refusal(path, other, me):
  if other is None:
    reason = 'its lock cannot be read'
  elif (other.host, other.boot, other.space) == (me.host, me.boot, me.space):
    reason = f'{other} is at work there'
  else:
    reason = (
      f'{other} is at work there, or was killed: from here ({me.host}, or another'
      ' container of it) it cannot be determined'
    )
  return StorageError(
    f'{path.parent}: {reason}. Use another --workdir, or wait for it to end or stop it;'
    f' when you are sure that nothing writes there, remove {path} and start again.'
  )


@contextlib.contextmanager
def _flock(folder):
  handle = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
  finally:
    os.close(handle)


def _read(path):
  try:
    return owners.parse(path.read_bytes())
  except OSError:
    return None


def _print(text):
  print(text, file=sys.stderr)
