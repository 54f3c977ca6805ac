"""Processes that write in a workdir, as lock.json names them."""

import dataclasses
import datetime
import json
import os
import pathlib
import socket
import uuid

LOCK_FILE = 'lock.json'


@dataclasses.dataclass(frozen=True)
class Owner:
  """A process that writes in a workdir, as lock.json has it."""

  host: str
  boot: str  # id of the host's boot
  space: str  # PID namespace: a container has process ids of its own
  pid: int
  born: str  # clock tick of its start: a later process may have the same id
  since: str
  token: str
  job: str = ''  # of SLURM; '' outside of one
  start: int = 0  # of the job: how often it was requeued before

  def __str__(self):
    return f'process {self.pid} on {self.host}, which started at {self.since}'

  def has_ended(self, me):
    """Returns whether process `me` is to take it for ended."""
    return bool(self.why_over(me))

  def why_over(self, me):
    """Returns why `me` is to take it for ended, '' where it may be at work."""
    if self.is_gone(me):
      return 'that process has ended'
    if self.job and self.job == me.job and self.start < me.start:
      # SLURM has ended that start, or lost its node, where it may live on: a process
      # that finds its lock taken stops.
      return f'SLURM has started job {self.job} again'
    return ''

  def is_gone(self, me):
    """Returns whether `me` can see that it has ended."""
    if self.host != me.host:
      return False
    if self.boot != me.boot:
      return True  # the host has rebooted since
    return self.space == me.space and _start_tick(self.pid) != self.born


def place_of(owner):
  """Returns what processes have in common that can look at each other."""
  return owner.host, owner.boot, owner.space


def parse(content):
  """Returns the Owner in the bytes of a lock, None where they name none."""
  try:
    fields = json.loads(content)
    names = {field.name for field in dataclasses.fields(Owner)}
    return Owner(**{name: fields[name] for name in names & fields.keys()})
  except (ValueError, TypeError, KeyError, AttributeError):
    return None


def this_process():
  """Returns the Owner that this process would be."""
  pid = os.getpid()
  since = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  return Owner(
    host=socket.gethostname(),
    boot=_line('/proc/sys/kernel/random/boot_id'),
    space=_pid_namespace(),
    pid=pid,
    born=_start_tick(pid),
    since=since,
    token=uuid.uuid4().hex,
    job='@'.join(filter(None, map(os.environ.get, _JOB))),
    start=int(os.environ.get('SLURM_RESTART_COUNT') or 0),
  )


# An element of an array has a number of its own.
_JOB = 'SLURM_JOB_ID', 'SLURM_CLUSTER_NAME'


def _start_tick(pid):
  """Returns the clock tick in which process `pid` began, '' when there is none."""
  if not pathlib.Path('/proc/self/stat').exists():
    return 'there' if _exists(pid) else ''  # no ticks, as on macOS
  fields = _line(f'/proc/{pid}/stat').rpartition(')')[2].split()
  return '' if not fields or fields[0] in 'ZX' else fields[19]  # zombie, dead


def _pid_namespace():
  try:
    return os.readlink('/proc/self/ns/pid')
  except OSError:
    return ''


def _line(path):
  try:
    return pathlib.Path(path).read_text(encoding='utf-8', errors='replace').strip()
  except OSError:
    return ''


def _exists(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    pass  # another user's process
  return True
