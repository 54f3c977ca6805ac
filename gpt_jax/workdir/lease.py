"""One writer in a workdir in a bucket: a lock that its owner renews, or else loses.

The lock is an object written only over the version that was read, so of two starts one
wins. A dead owner cannot remove it and other machines cannot tell that it died: they
take it over once it was not renewed for LEASE_SECONDS, by the clock of the store.
"""

import contextlib
import dataclasses
import json
import sys
import threading
import time
import uuid

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import versions
from gpt_jax.storage.places import place
from gpt_jax.workdir import owners

LEASE_SECONDS = 60.0
RENEW_SECONDS = 15.0
RETRY_SECONDS = 1.0
"""After a renewal that failed."""
POLL_SECONDS = 1.0
RELEASE_SECONDS = 5.0
"""How long an end waits for a renewal under way; the lock of a dead process expires."""


class LostLease(StorageError):
  """Another process writes here now: this one has to stop."""


class UnsureLease(StorageError):
  """Another process may take the lock: nothing can be committed until it is renewed."""


def lost(path, why):
  """Returns the LostLease of the lock at `path`."""
  return LostLease(
    f'{path}: the lock of this run is lost: {why}. It stops here, so that no two'
    ' processes write; start it again, and it resumes from the last save.'
  )


def waiting(path, other):
  """Returns what a start says that waits for the lock of a process elsewhere."""
  return (
    f'{path}: held by {other or "nobody known"}; waiting at most {LEASE_SECONDS:.0f} s'
    ' for it to renew the lock or to lose it.'
  )


class Lease:
  """A lock that is held: renewed in the background until it is released."""

  def __init__(self, path, me, version):
    self._path, self.me, self._version = path, me, version
    self._renewed = time.monotonic()
    self._problem, self._renewals = '', 0
    self._end = threading.Event()
    self._thread = threading.Thread(target=self._renew, daemon=True)
    self._thread.start()

  def require(self):
    """Raises LostLease or UnsureLease unless this process is the only writer."""
    if self._problem:
      raise lost(self._path, self._problem)
    if (age := time.monotonic() - self._renewed) > LEASE_SECONDS:
      raise UnsureLease(
        f'{self._path}: the lock of this run could not be renewed for {age:.0f} s, and'
        f' counts for {LEASE_SECONDS:.0f} s; nothing is committed until it can.'
      )

  def confirm(self):
    """Raises as `require` does, after a look at the lock as it is now."""
    self.require()
    # The lock of an earlier start of a job is taken over before it expires.
    if (now := owner(self._path.parent)) != self.me:
      raise lost(self._path, f'{now or "somebody"} has taken or removed it')

  def release(self):
    self._end.set()
    self._thread.join(RELEASE_SECONDS)
    if self._thread.is_alive():
      return  # the bucket does not answer
    found = None if self._problem else versions.read(self._path)
    if found is not None and found.version == self._version:
      versions.remove(self._path)

  def _renew(self):
    wait = RENEW_SECONDS
    while not self._problem and not self._end.wait(wait):
      try:
        wait = self._renew_once()
      except Exception:  # the network, perhaps: `require` says when it was too long
        wait = RETRY_SECONDS

  def _renew_once(self):
    """Renews the lock, or notes who has it; returns the seconds to the next time."""
    began = time.monotonic()
    self._renewals += 1
    content = _content(self.me, self._renewals)
    if written := versions.write_if(self._path, content, self._version):
      self._version, self._renewed = written.version, began
      return RENEW_SECONDS
    found = versions.read(self._path)
    now = None if found is None else owners.parse(found.content)
    if found is not None and now == self.me:  # a renewal whose answer was lost
      self._version = found.version
      return 0.0
    self._problem = f'{now or "somebody"} has taken it, or it was removed'
    return 0.0


@contextlib.contextmanager
def held(workdir, report=None):
  """Holds the lock of the remote `workdir` while the block runs; gives its Lease.

  `report(text)` says what was waited for and taken over (default: standard error).
  Raises StorageError naming the process that writes there now.
  """
  path = place(workdir) / owners.LOCK_FILE
  me = owners.this_process()
  versions.require_conditions(path.parent)
  lease = Lease(path, me, _acquire(path, me, report or _print))
  try:
    yield lease
  finally:
    with contextlib.suppress(StorageError):  # what ended the block is raised
      lease.release()


def owner(workdir):
  """Returns the Owner named in the lock of `workdir`, or None."""
  found = versions.read(place(workdir) / owners.LOCK_FILE)
  return None if found is None else owners.parse(found.content)


def require_unlocked(workdir):
  """Raises StorageError naming the process that writes in `workdir`, if it may live."""
  path = place(workdir) / owners.LOCK_FILE
  found = versions.read(path)
  if found is None or _why_over(found, owners.this_process(), _clock(path)):
    return
  raise _refusal(path, owners.parse(found.content), 'is at work there')


def _acquire(path, me, report):
  """Returns the version of the lock that is ours now; raises StorageError."""
  seen, now = None, None
  while True:
    found = versions.read(path)
    if found is None:
      if written := versions.write_if(path, _content(me, 0), versions.ABSENT):
        return written.version
      continue
    other, now = owners.parse(found.content), now or _clock(path)
    if why := _why_over(found, me, now):
      if written := versions.write_if(path, _content(me, 0), found.version):
        report(f'{path}: took over the lock of {other or "nobody"}; {why}.')
        _let_it_notice(found, me, now, report)
        return written.version
      seen = None
      continue
    if other and owners.place_of(other) == owners.place_of(me):
      raise _refusal(path, other, 'is at work there')
    if seen is not None and seen.version != found.version:
      raise _refusal(path, other, 'is at work there: it has just renewed its lock')
    if seen is None:
      report(waiting(path, other))
    seen = found
    time.sleep(POLL_SECONDS)


def _why_over(found, me, now):
  """Returns why the lock `found` no longer counts, '' where it does."""
  other = owners.parse(found.content)
  if other and (why := other.why_over(me)):
    return why
  age = now() - found.changed.timestamp()
  return f'it was last renewed {age:.0f} s ago' if age > LEASE_SECONDS else ''


def _let_it_notice(found, me, now, report):
  """Waits for an owner that may live on: it learns of its loss when it renews next."""
  other = owners.parse(found.content)
  is_over = now() - found.changed.timestamp() > LEASE_SECONDS
  if other and not is_over and not other.is_gone(me):
    report(f'waiting {RENEW_SECONDS + POLL_SECONDS:.0f} s for it to notice.')
    time.sleep(RENEW_SECONDS + POLL_SECONDS)


def _clock(path):
  """Returns a function that gives the time by the clock of the store, in seconds."""
  # Clocks of two machines differ; that of the store is one.
  probe = path.with_name(f'.clock.{uuid.uuid4().hex}.tmp')
  written = versions.write_if(probe, probe.name.encode(), versions.ABSENT)
  versions.remove(probe)
  offset = written.changed.timestamp() - time.monotonic() if written else 0.0
  return lambda: time.monotonic() + offset


def _refusal(path, other, what):
  return StorageError(
    f'{path.parent}: {other or "a process that its lock does not name"} {what}. Use'
    f' another --workdir, or wait for it to end or stop it; {LEASE_SECONDS:.0f} s after'
    ' its last renewal the lock of a killed process is taken over.'
  )


def _content(me, renewals):
  fields = dataclasses.asdict(me) | dict(renewals=renewals)
  return (json.dumps(fields, indent=2) + '\n').encode()


def _print(text):
  print(text, file=sys.stderr)
