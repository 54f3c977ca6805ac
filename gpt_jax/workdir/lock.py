"""One writer in a workdir: a file that names its owner, and is gone when he is.

The file appears in one step with its content (a hard link), so that of two starts one
wins, on any file system with atomic links: also between hosts on NFS. A dead owner is
recognised on his own host only, by his process id and start time; taking his place is
guarded by a lock of the kernel, which holds within one host.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import socket
import sys
import uuid

from gpt_jax.core.errors import StorageError
from gpt_jax.workdir import files

FILE = 'lock.json'


@dataclasses.dataclass(frozen=True)
class Owner:
  """A process that writes in a workdir.

  `boot` names the uptime of its host, `space` the container whose process ids it has,
  `born` the tick it began in, which tells it from a later process of its id.
  """

  host: str
  boot: str
  space: str
  pid: int
  born: str
  since: str
  token: str

  def __str__(self):
    return f'process {self.pid} on {self.host}, which started at {self.since}'

  def is_gone(self, me):
    """Returns whether it has surely ended, as far as process `me` can tell."""
    if self.host != me.host:
      return False
    if self.boot != me.boot:
      return True  # the host went down since
    return self.space == me.space and _born(self.pid) != self.born


@contextlib.contextmanager
def held(workdir, say=None):
  """Holds the lock of `workdir` (a folder that exists) while the block runs.

  `say(text)` hears of the lock of a dead process that was taken over; default: standard
  error. Raises StorageError naming the owner when somebody else writes there.
  """
  path = pathlib.Path(workdir) / FILE
  me = _myself()
  previous = _acquire(path, me)
  if previous:
    (say or _print)(
      f'{path}: took over the lock of {previous}; it is gone and left it behind.'
    )
  try:
    yield me
  finally:
    if _read(path) == me:  # not one that somebody has put there by hand
      with contextlib.suppress(OSError):
        path.unlink()


def owner(workdir):
  """Returns the Owner named in the lock of `workdir`, or None."""
  return _read(pathlib.Path(workdir) / FILE)


def refuse_owned(workdir):
  """Raises StorageError naming the owner when somebody is at work in `workdir`.

  Writes nothing; the lock of a dead process passes.
  """
  path, me = pathlib.Path(workdir) / FILE, _myself()
  there = _read(path)
  if (there is None and path.exists()) or (there and not there.is_gone(me)):
    raise _refusal(path, there, me)


def _acquire(path, me):
  """Returns the dead Owner whose lock was replaced, or None; raises StorageError."""
  scratch = path.with_name(f'.{FILE}.{me.token}')
  try:
    files.write_text(scratch, json.dumps(dataclasses.asdict(me), indent=2) + '\n')
    while True:
      try:
        os.link(scratch, path)
        return None
      except FileExistsError:
        pass
      with _guard(path.parent):
        there = _read(path)
        if there is None and not path.exists():
          continue  # released this very moment
        if there is None or not there.is_gone(me):
          raise _refusal(path, there, me)
        os.replace(scratch, path)
        return there
  except OSError as error:
    raise StorageError(
      f'cannot lock {path.parent} ({error.strerror or error}); a workdir needs a file'
      ' system with hard links and file locks, such as a local disk.'
    ) from error
  finally:
    with contextlib.suppress(OSError):
      scratch.unlink()


def _refusal(path, there, me):
  if there is None:
    reason = 'a lock that cannot be read stands there'
  elif (there.host, there.boot, there.space) == (me.host, me.boot, me.space):
    reason = f'{there} is at work there'
  else:
    reason = (
      f'{there} is at work there, or ended without a word: from here ({me.host}, or'
      ' another container of it) nobody can tell'
    )
  return StorageError(
    f'{path.parent}: {reason}. Use another --workdir, or wait for it to end or stop it;'
    f' when you are sure that nobody writes there, remove {path} and start again.'
  )


@contextlib.contextmanager
def _guard(folder):
  """Lets one process of this host at a time replace a lock in `folder`."""
  handle = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
  finally:
    os.close(handle)


def _read(path):
  try:
    fields = json.loads(path.read_text(encoding='utf-8'))
    return Owner(**fields)
  except (OSError, ValueError, TypeError):
    return None


def _myself():
  pid = os.getpid()
  since = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  return Owner(
    host=socket.gethostname(),
    boot=_line('/proc/sys/kernel/random/boot_id'),
    space=_container(),
    pid=pid,
    born=_born(pid),
    since=since,
    token=uuid.uuid4().hex,
  )


def _born(pid):
  """Returns the tick in which process `pid` began, '' when there is none.

  Where there is no /proc, only whether it is there.
  """
  if not pathlib.Path('/proc/self/stat').exists():
    return _answers(pid)
  fields = _line(f'/proc/{pid}/stat').rpartition(')')[2].split()
  return '' if not fields or fields[0] in 'ZX' else fields[19]


def _container():
  try:
    return os.readlink('/proc/self/ns/pid')
  except OSError:
    return ''


def _line(path):
  try:
    return pathlib.Path(path).read_text(encoding='utf-8', errors='replace').strip()
  except OSError:
    return ''


def _answers(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return ''
  except PermissionError:
    pass  # somebody else's, and there
  return 'there'


def _print(text):
  print(text, file=sys.stderr)
