"""Checks of the machine, the installation and a run: what is wrong, and the fix.

Each check returns `Finding`s and none raises: what cannot be determined is a finding
too. Nothing is installed or downloaded; files written to test a folder are removed.
"""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import socket
import sys

from gpt_jax import __version__
from gpt_jax.commands import host
from gpt_jax.core.errors import UserError
from gpt_jax.storage import objects, places, scratch, scratch_space
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files, lock
from gpt_jax.workdir.paths import Workdir

OK, WARN, FAIL = 'ok', 'warn', 'fail'
PARTS = {
  'jax[cuda]': ('jax-cuda12-plugin', 'jax-cuda13-plugin'),
  'jax[tpu]': ('libtpu',),
}
"""What `name[part]` installs besides `name`: any one of these packages."""
OLDEST_PYTHON = (3, 11)
LOW_DISK_GIB, LOW_MEMORY_GIB = 5.0, 2.0
GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Finding:
  """A line of the report; `fix` is empty where there is none."""

  name: str
  status: str
  detail: str
  fix: str = ''


def examine(*, cache_dir, workdir=None):
  """Returns the findings of all checks, in the order of the report."""
  base, extras = requirements()
  findings = [_python(), _installation(base)]
  findings += [package(requirement) for requirement in ['jaxlib', *base]]
  findings += [_extra(name, needed) for name, needed in extras.items()]
  findings += [_devices(), _matmul(), _processes()]
  findings += [_cache(cache_dir), *_data_sets(), *_copies()]
  findings += [_disk('.' if workdir is None else workdir), _memory()]
  return findings + ([] if workdir is None else _workdir(workdir))


def requirements():
  """Returns `(base, extras)` of the installed package: lists of 'name>=version'.

  Both are empty for a clone that runs without having been installed.
  """
  try:
    lines = importlib.metadata.requires('gpt_jax') or []
  except importlib.metadata.PackageNotFoundError:
    lines = []
  base, extras = [], {}
  for line in lines:
    requirement, _, condition = line.partition(';')
    extra = re.search(r'extra\s*==\s*[\'"](.+?)[\'"]', condition)
    named = extras.setdefault(extra[1], []) if extra else base
    named.append(requirement.strip())
  return base, extras


def package(requirement):
  """Returns the Finding whether 'name[parts]>=version' is installed."""
  name, wanted = split_requirement(requirement)
  fix = f"pip install --upgrade '{requirement}'"
  try:
    found = importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return Finding(name, FAIL, f'missing; expected {requirement}', fix)
  if wanted and numbers(found) < numbers(wanted):
    return Finding(name, FAIL, f'{found}; expected {wanted} or newer', fix)
  return Finding(name, OK, found + (f' (expected {wanted} or newer)' if wanted else ''))


def split_requirement(requirement):
  """Returns `(name, oldest version or None)` of 'name[parts]>=version'."""
  match = re.match(r'([\w.-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([\w.]+))?', requirement)
  assert match, requirement
  return match[1], match[2]


def numbers(version):
  """Returns a version's leading numbers, for comparison: '0.10.2rc1' -> (0, 10, 2)."""
  return tuple(int(part) for part in re.findall(r'\d+', version.split('+')[0])[:3])


def _python():
  found = platform.python_version()
  if sys.version_info[:2] >= OLDEST_PYTHON:
    return Finding('python', OK, f'{found} ({sys.executable})')
  wanted = '.'.join(map(str, OLDEST_PYTHON))
  fix = f'install Python {wanted} or newer and make a new environment with it'
  return Finding('python', FAIL, f'{found}; expected {wanted} or newer', fix)


def _installation(base):
  if base:
    return Finding('gpt_jax', OK, __version__)
  detail = f'{__version__}, not installed: its requirements are not checked'
  return Finding('gpt_jax', WARN, detail, 'in the clone: pip install -e .')


def _extra(name, needed):
  # Never a failure: extras are optional.
  lacks = [r.split('>')[0] for r in needed if not _is_complete(r)]
  if not lacks:
    return Finding(f'extra [{name}]', OK, ', '.join(needed))
  return Finding(
    f'extra [{name}]',
    OK,
    f'not installed (lacks {", ".join(lacks)})',
    f"if you want it: pip install 'gpt_jax[{name}]'",
  )


def _is_complete(requirement):
  parts = PARTS.get(requirement.split('>')[0])
  is_there = parts is None or any(package(part).status == OK for part in parts)
  return is_there and package(requirement).status == OK


def _devices():
  import jax

  try:
    devices = jax.devices()
  except RuntimeError as error:
    return Finding(
      'devices',
      FAIL,
      _line(error),
      'set JAX_PLATFORMS=cpu, or repair the driver that it names',
    )
  kinds = {device.device_kind for device in devices}
  detail = f'{len(devices)} {devices[0].platform} ({", ".join(sorted(kinds))})'
  is_choice = os.environ.get('JAX_PLATFORMS', '').startswith('cpu')
  hidden = None if is_choice else host.accelerator()
  if hidden and devices[0].platform == 'cpu':
    extra, what = hidden
    fix = f"pip install 'gpt_jax[{extra}]'"
    return Finding('devices', WARN, f'{detail}, but {what} is here', fix)
  return Finding('devices', OK, detail)


def _matmul():
  import jax
  import numpy as np

  try:
    for device in jax.devices():
      ones_NN = jax.device_put(np.ones((64, 64), np.float32), device)
      result = np.asarray(jax.jit(lambda x: x @ x)(ones_NN))
      if not (result == 64).all():
        fix = f'take {device} out of service: it computes wrong numbers'
        return Finding('matmul', FAIL, f'wrong result on {device}', fix)
  except Exception as error:  # drivers raise errors of any class
    fix = 'repair the driver, or set JAX_PLATFORMS=cpu'
    return Finding('matmul', FAIL, _line(error), fix)
  return Finding('matmul', OK, 'exact on every device')


def _processes():
  """Returns which process of how many `train` would be here, and who says so."""
  from gpt_jax.parallel import discovery

  try:
    found, reasons = discovery.look()
  except UserError as error:
    fix = f'set what it names, or unset it; {discovery.ALONE}'
    return Finding('processes', FAIL, _line(error), fix)
  if found is None:
    why = '; '.join(reasons.values()) or 'no variable of a launcher is set'
    return Finding('processes', OK, f'alone: {why}')
  detail = (
    f'{found.label(found.process_id)} of {found.num_processes}, process 0 listens at'
    f' {found.coordinator}; {found}'
  )
  host = found.coordinator.rpartition(':')[0].strip('[]')
  try:
    socket.getaddrinfo(host, None)
  except OSError as error:
    fix = f'make {host} known here (DNS, /etc/hosts), or give another --coordinator'
    return Finding('processes', WARN, f'{detail}; {host}: {error.strerror}', fix)
  return Finding('processes', OK, detail)


def _cache(folder):
  try:
    return Finding(
      'compilation cache', OK, f'{files.check_writable(folder)} can be written'
    )
  except UserError as error:
    fix = 'set GPT_JAX_CACHE to a folder that can be written'
    return Finding('compilation cache', WARN, _line(error), fix)


def _data_sets():
  findings = []
  for variable, otherwise in (
    ('GPT_JAX_DATA', 'a relative data.path is one of data.data_dir, or from here'),
    ('TFDS_DATA_DIR', 'sets are those of data.data_dir, or ~/tensorflow_datasets'),
  ):
    folder = os.environ.get(variable)
    if not folder:
      findings.append(Finding(variable, OK, f'not set; {otherwise}'))
      continue
    try:
      names = objects.names_in(places.place(folder, can_be_bucket=True))
      if not names and not is_remote(folder):
        os.scandir(folder)  # raises where there is none
    except (OSError, UserError) as error:
      fix = f'set {variable} to the folder of your data, or unset it'
      detail = _line(error)
      if isinstance(error, OSError):
        detail = f'{folder}: {error.strerror}'
      findings.append(Finding(variable, FAIL, detail, fix))
      continue
    shown = ', '.join(names[:12]) + (f' and {len(names) - 12} more' * (len(names) > 12))
    status = OK if names else WARN
    fix = '' if names else f'put data there, or unset {variable}'
    findings.append(Finding(variable, status, f'{folder}: {shown or "empty"}', fix))
  return findings


def _copies():
  """Returns the finding on local copies of what lies in buckets; none without any."""
  root = scratch.folder('')
  try:
    limit, taken = scratch_space.limit_bytes(), scratch_space.taken_bytes()
  except UserError as error:
    return [Finding('copies', FAIL, _line(error), f'unset {scratch_space.LIMIT}')]
  detail = f'{root}: {taken / 1e9:.2f} GB of at most {limit / 1e9:g}'
  return [Finding('copies', OK, detail)] if taken else []


def _disk(folder):
  place = files.as_folder(folder)
  if is_remote(place):
    return Finding('disk', OK, f'{place}: a bucket, as large as it is paid for')
  while not place.exists():
    place = place.parent
  free = shutil.disk_usage(place).free / GIB
  if free >= LOW_DISK_GIB:
    return Finding('disk', OK, f'{free:.1f} GiB free at {place}')
  fix = 'free some space: a checkpoint takes 12 bytes a parameter, three are kept'
  return Finding('disk', WARN, f'{free:.1f} GiB free at {place}', fix)


def _memory():
  try:
    pages = os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    lines = pathlib.Path('/proc/meminfo').read_text().splitlines()
    available = next((line for line in lines if line.startswith('MemAvailable')), None)
    free = int(available.split()[1]) * 1024 if available else pages
  except (OSError, ValueError, AttributeError):
    return Finding('memory', OK, 'not reported by this system')
  detail = f'{free / GIB:.1f} GiB available, {os.cpu_count()} cores'
  if free / GIB >= LOW_MEMORY_GIB:
    return Finding('memory', OK, detail)
  return Finding(
    'memory', WARN, detail, 'end other programs, or choose a smaller model'
  )


def _workdir(path):
  workdir = Workdir(path)
  if not workdir.path.exists():
    detail, fix = f'{workdir}: no such folder', 'check the path; train makes a new one'
    return [Finding('workdir', WARN, detail, fix)]
  try:
    files.check_writable(workdir.path)
    has_config = workdir.read_config() is not None
  except UserError as error:
    return [Finding('workdir', FAIL, _line(error), 'see docs/reliability.md')]
  if not has_config:
    fix = 'check the path, or start a run there'
    return [Finding('workdir', WARN, f'{workdir}: no run yet', fix)]
  findings = [Finding('workdir', OK, f'{workdir}: holds a run')]
  return [*findings, *_lock(workdir), _last_step(workdir)]


def _lock(workdir):
  path = workdir.path / lock.FILE
  if not path.exists():
    return []
  owner = lock.owner(workdir.path)
  if owner is None:
    fix = f'delete {path} if nothing runs in this workdir'
    return [Finding('lock', WARN, f'{path} names no readable owner', fix)]
  try:
    lock.require_unlocked(workdir.path)
  except UserError:
    fix = 'do not start another process there while that one runs'
    return [Finding('lock', WARN, f'held by {owner}', fix)]
  return [
    Finding(
      'lock', OK, f'left by {owner}, which has ended; the next start takes the lock'
    )
  ]


def _last_step(workdir):
  from gpt_jax.checkpoints.reader import CheckpointReader

  if not workdir.checkpoints.is_dir():
    return Finding('last step', WARN, 'no checkpoints', 'train until the first save')
  try:
    with CheckpointReader(workdir.checkpoints) as store:
      step = store.latest_step()
      if step is None:
        fix = 'train until the first save'
        return Finding('last step', WARN, 'no finished checkpoint', fix)
      store.read_meta(step)
  except UserError as error:
    fix = f'move its newest folder out of {workdir.checkpoints} to resume before it'
    return Finding('last step', FAIL, _line(error), fix)
  return Finding('last step', OK, f'{step}, with readable metadata')


def _line(error):
  return (str(error).splitlines() or [type(error).__name__])[0]
