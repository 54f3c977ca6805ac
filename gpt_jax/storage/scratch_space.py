"""What scratch keeps: those used last, up to GPT_JAX_SCRATCH_GB, never one in use.

Folders below `scratch.folder('files')` and `('tokens')` can be made again. A process
writes the names of those it uses into a file that it keeps locked: the system takes the
lock back from a process that was killed.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import uuid

from gpt_jax.core.errors import ConfigError, StorageError, note_once
from gpt_jax.storage import scratch

LIMIT, DEFAULT_GB = 'GPT_JAX_SCRATCH_GB', 200.0
KINDS = ('files', 'tokens')
_SPARE_BYTES = 1 << 30  # of the disk, for what else is written there
_TMP = '.tmp'  # ends the name of what is not whole
_mine: dict[pathlib.Path, tuple] = {}  # scratch -> (locked file, names in it)


def limit_bytes():
  """Returns how much may stay; ConfigError where the variable is no number."""
  text = os.environ.get(LIMIT, '')
  try:
    number = float(text or DEFAULT_GB)
  except ValueError:
    number = -1.0
  if not 0 <= number < 1e9:
    raise ConfigError(
      f'{LIMIT}={text!r}: expected a number of GB for copies of objects in'
      f' {scratch.folder("")}, such as {DEFAULT_GB:.0f}.'
    )
  return number * 1e9


def claim(folders):
  """Keeps `folders`, which need not be there, from removal until this process ends.

  They are folders in one of KINDS.
  """
  root = scratch.folder('')
  names = {f'{folder.parent.name}/{folder.name}' for folder in folders}
  with _explained(root), _locked(root / 'lock'):
    file, known = _own_file(root)
    if fresh := names - known:
      os.write(file, ''.join(f'{name}\n' for name in sorted(fresh)).encode())
      known |= fresh
  for folder in folders:
    with contextlib.suppress(OSError):
      os.utime(folder)


def reserve(num_bytes, what):
  """Removes what was used least lately until `num_bytes` more fit.

  Raises StorageError where the disk lacks space for them even so; the limit may be
  exceeded by what is in use.
  """
  root = scratch.folder('')
  with _explained(root), _locked(root / 'lock'):
    found = _entries(root)
    used = _used(root)
    excess = sum(size for _, size, _ in found) + num_bytes - limit_bytes()
    lacking = num_bytes + _SPARE_BYTES - shutil.disk_usage(root).free
    removed = []
    for _, size, folder in sorted(found):
      name = f'{folder.parent.name}/{folder.name}'
      is_left = folder.name.endswith(_TMP)  # by a process that was killed
      if name.partition('.')[0] in used or not (is_left or max(excess, lacking) > 0):
        continue
      gone = folder.with_name(f'{folder.name}.{uuid.uuid4().hex[:8]}{_TMP}')
      folder.rename(gone)
      removed.append(gone)
      excess, lacking = excess - size, lacking - size
  for folder in removed:
    shutil.rmtree(folder, ignore_errors=True)
  free = shutil.disk_usage(root).free
  if free < num_bytes:
    raise StorageError(
      f'{what}: {num_bytes / 1e9:.2f} GB do not fit on the disk of {root}, where'
      f' {free / 1e9:.2f} GB are free; free some space, or set GPT_JAX_SCRATCH to a'
      ' folder of a larger disk.'
    )
  if excess > 0:
    note_once(
      f'{root}: holds {excess / 1e9:.2f} GB more than {LIMIT}'
      f' ({limit_bytes() / 1e9:g}), all of it in use'
    )


def taken_bytes():
  """Returns how much is there now."""
  return sum(size for _, size, _ in _entries(scratch.folder('')))


def _entries(root):
  """Returns [(time of last use, bytes, folder)] of all that may be removed."""
  found = []
  for kind in KINDS:
    for folder in (root / kind).glob('*'):
      with contextlib.suppress(FileNotFoundError):
        if folder.is_dir():
          found.append((folder.stat().st_mtime, _size(folder), folder))
  return found


def _size(folder):
  total = 0
  for parent, _, names in os.walk(folder):
    for name in names:
      with contextlib.suppress(FileNotFoundError):
        status = os.lstat(os.path.join(parent, name))
        total += status.st_blocks * 512  # of a copy under way what is there
  return total


def _own_file(root):
  """Returns (locked file of this process and its forks, names in it)."""
  if root not in _mine:
    folder = root / 'in_use'
    folder.mkdir(exist_ok=True)
    path = folder / f'{os.getpid()}-{uuid.uuid4().hex[:8]}'
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    _mine[root] = file, set()
  return _mine[root]


def _used(root):
  """Returns the names that living processes use; forgets dead ones."""
  names = set()
  for path in (root / 'in_use').glob('*'):
    with open(path, 'rb') as file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
      except BlockingIOError:
        names.update(file.read().decode().splitlines())
  return names


@contextlib.contextmanager
def _locked(path):
  """Holds the lock of a file, made where it is not there, while the block runs."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'a') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


@contextlib.contextmanager
def alone(name):
  """Lets one process of this machine at a time into the block of a `name`."""
  root = scratch.folder('')
  path = root / 'being_made' / name
  with contextlib.ExitStack() as stack:
    with _explained(root):
      stack.enter_context(_locked(path))
    try:
      yield
    finally:
      path.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(root):
  try:
    yield
  except OSError as error:
    raise StorageError(
      f'cannot write in {root} ({error.strerror or error}), where copies of objects'
      ' are kept; set GPT_JAX_SCRATCH to a folder that can be written.'
    ) from error
