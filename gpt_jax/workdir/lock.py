"""One writer in a workdir: a lock file that names its owner, who renews it.

Made by a hard link, which appears atomically with its content, also on NFS: of two
starts one wins. A dead owner is recognised on its own host, as an earlier start of the
same SLURM job, or anywhere once the lock was not renewed for `lease.LEASE_SECONDS`. An
owner that was taken for dead finds another name in its lock, and stops.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import sys
import threading
import time

from gpt_jax.core.errors import StorageError
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files, lease, owners
from gpt_jax.workdir.owners import this_process

FILE = owners.LOCK_FILE
LOOK_SECONDS = 1.0
"""How often an owner looks whether the lock is still its own, beside each save."""
RENEWED = 'renewed_each'  # s; locks of earlier versions lack it, and never expire
Owner = owners.Owner


class Lock:
  """A lock file that is held: renewed in the background until it is released."""

  def __init__(self, path, me):
    self._path, self.me = path, me
    self._looked = time.monotonic()
    self._end = threading.Event()
    self._thread = threading.Thread(target=self._renew, daemon=True)
    self._thread.start()

  def require(self):
    """Raises LostLease once another owner is seen; looks each LOOK_SECONDS."""
    if time.monotonic() - self._looked >= LOOK_SECONDS:
      self.confirm()

  def confirm(self):
    """Raises LostLease unless the lock names this process now."""
    try:
      now = owners.parse(self._path.read_bytes())
    except FileNotFoundError:
      now = None
    except OSError:  # no answer is no other owner
      return
    if now != self.me:
      raise lease.lost(self._path, f'{now or "somebody"} has taken or removed it')
    self._looked = time.monotonic()

  def release(self):
    self._end.set()
    self._thread.join()
    with contextlib.suppress(OSError), _flock(self._path.parent, is_needed=False):
      if _read(self._path) == self.me:  # not one that was put there by another
        self._path.unlink()

  def _renew(self):
    while not self._end.wait(lease.RENEW_SECONDS):
      with contextlib.suppress(OSError):
        if _read(self._path) == self.me:
          os.utime(self._path)  # the time is that of the file server


@contextlib.contextmanager
def held(workdir, report=None):
  """Holds the lock of `workdir` while the block runs; gives its Owner, as `holding`."""
  with holding(workdir, report) as mine:
    yield mine.me


@contextlib.contextmanager
def holding(workdir, report=None):
  """Holds the lock of `workdir`, an existing folder; gives a Lock or a Lease.

  `report(text)` is called when the lock of another process was waited for or taken over
  (default: standard error). Raises StorageError naming the process that writes there.
  """
  if is_remote(workdir):
    with lease.held(workdir, report) as mine:
      yield mine
    return
  path = pathlib.Path(workdir) / FILE
  me = this_process()
  _acquire(path, me, report or _print)
  mine = Lock(path, me)
  try:
    yield mine
  finally:
    mine.release()


def owner(workdir):
  """Returns the Owner named in the lock of `workdir`, or None."""
  if is_remote(workdir):
    return lease.owner(workdir)
  return _read(pathlib.Path(workdir) / FILE)


def living_owner(workdir):
  """Returns the Owner that writes in `workdir`, None where none does any more."""
  if found := owner(workdir):
    try:
      require_unlocked(workdir)
    except StorageError:
      return found
  return None


def require_unlocked(workdir):
  """Raises StorageError naming the process that writes in `workdir`, if it may live."""
  if is_remote(workdir):
    lease.require_unlocked(workdir)
    return
  path, me = pathlib.Path(workdir) / FILE, this_process()
  other = _read(path)
  if other is None and path.exists():
    raise _refusal(path, other, me)
  if other and not _why_over(path, other, me)[1]:
    raise _refusal(path, other, me)


def _acquire(path, me, report):
  """Makes the lock ours; raises StorageError where another process has it."""
  scratch = path.with_name(f'.{FILE}.{me.token}')
  fields = dataclasses.asdict(me) | {RENEWED: lease.RENEW_SECONDS}
  try:
    files.write_text(scratch, json.dumps(fields, indent=2) + '\n')
    seen = None
    while True:
      try:
        os.link(scratch, path)
        return
      except FileExistsError:
        pass
      with _flock(path.parent):
        other = _read(path)
        if other is None and not path.exists():
          continue  # released this very moment
        renewed, why = _why_over(path, other, me) if other else (None, '')
        if why:
          os.utime(scratch)
          os.replace(scratch, path)
          report(f'{path}: took over the lock of {other}; {why}.')
          return
      if renewed is None or seen not in (None, (other, renewed)):
        raise _refusal(path, other, me)
      if seen is None:
        report(lease.waiting(path, other))
      seen = other, renewed
      time.sleep(lease.POLL_SECONDS)
  except OSError as error:
    raise StorageError(
      f'cannot lock {path.parent} ({error.strerror or error}); a workdir needs a file'
      ' system with hard links and file locks, such as a local disk.'
    ) from error
  finally:
    with contextlib.suppress(OSError):
      scratch.unlink()


def _why_over(path, other, me):
  """Returns (when the lock was renewed, why it no longer counts or '').

  The time is None where it says nothing: of a process that can be looked at, or that
  does not renew.
  """
  why = other.why_over(me)
  if why or owners.place_of(other) == owners.place_of(me):
    return None, why
  probe = path.with_name(f'.{FILE}.{me.token}.now')
  try:
    if RENEWED not in json.loads(path.read_bytes()):
      return None, ''
    renewed = path.stat().st_mtime
    # Clocks of two hosts differ: both times are those of the file server.
    probe.touch()
    age = probe.stat().st_mtime - renewed
  except (OSError, ValueError):
    return None, ''
  finally:
    with contextlib.suppress(OSError):
      probe.unlink()
  is_over = age > lease.LEASE_SECONDS
  return renewed, f'it was last renewed {age:.0f} s ago' if is_over else ''


def _refusal(path, other, me):
  if other is None:
    reason = 'its lock cannot be read'
  elif owners.place_of(other) == owners.place_of(me):
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
def _flock(folder, is_needed=True):
  handle = os.open(folder, os.O_RDONLY)
  try:
    try:
      fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:  # a file system without: only a replacement cannot do without
      if is_needed:
        raise
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
