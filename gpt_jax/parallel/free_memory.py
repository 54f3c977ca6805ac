"""How much memory devices and this machine have free, and what to say of too little."""

import contextlib
import pathlib
import re
import resource

import jax

from gpt_jax.core.errors import ConfigError

GIB = 1 << 30
PROC = pathlib.Path('/proc')
CGROUPS = pathlib.Path('/sys/fs/cgroup')
_LIMITS = {  # of control groups: folder, limit, use, how entries of memory.stat begin
  'v2': ('', 'memory.max', 'memory.current', ''),
  'v1': ('memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_'),
}
_DROPPABLE = ('active_file', 'inactive_file')  # of a use: what the kernel can drop
_UNITS = {'': 1, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'T': 1 << 40}


def free_on(device):
  """Returns the bytes that `device` has free, None if unknown.

  CPU devices have what the host has, all of them together.
  """
  stats = device.memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit'] - stats.get('bytes_in_use', 0)
  return host_bytes() if device.platform == 'cpu' else None


def host_bytes():
  """Returns the bytes that this process can still take, None if unknown.

  The least of what is available on the machine, what the control groups of a container
  allow, and what `ulimit -v` leaves.
  """
  found = [_available(), *_left_in_cgroups(), _left_of_address_space()]
  return min((max(0, each) for each in found if each is not None), default=None)


def gib(count):
  """Returns a number of bytes in GiB, as text: `1.25 GiB`."""
  return f'{count / GIB:,.3g} GiB' if count >= GIB / 1000 else f'{count:,} bytes'


def lacks_memory(error):
  """Returns whether an exception of Python, jax or XLA says that memory ran out."""
  if isinstance(error, MemoryError):  # std::bad_alloc of C++ too
    return True
  words = ('RESOURCE_EXHAUSTED', 'out of memory', 'bad_alloc')
  is_xla = isinstance(error, jax.errors.JaxRuntimeError)
  return is_xla and any(word.lower() in str(error).lower() for word in words)


def asked_bytes(error):
  """Returns how many bytes the failed allocation asked for, None if unsaid."""
  found = re.search(r'allocat\w+ \(?([\d.]+) ?([KMGT]?)i?(?:B|bytes)?\b', str(error))
  return int(float(found[1]) * _UNITS[found[2]]) if found else None


@contextlib.contextmanager
def explained(subject, remedy):
  """Turns a lack of memory in its block into one ConfigError, with both figures.

  `subject()` names what was at work; `remedy(asked bytes or None)` says what would fit.
  """
  try:
    yield
  except (MemoryError, jax.errors.JaxRuntimeError) as error:
    if not lacks_memory(error):
      raise
    asked = asked_bytes(error)
    raise shortage(subject(), asked, _least_free(), remedy(asked)) from error


def shortage(subject, asked, free, remedy):
  """Returns the ConfigError for `subject` that asked for more than is free."""
  wanted = 'more memory' if asked is None else gib(asked)
  there = '' if free is None else f'; {gib(free)} are free'
  return ConfigError(f'out of memory: {subject} asked for {wanted}{there}. {remedy}')


def _least_free():
  found = [free_on(device) for device in jax.local_devices()]
  return min((each for each in found if each is not None), default=None)


def _available():
  for line in _lines(PROC / 'meminfo'):
    if line.startswith('MemAvailable:'):
      return int(line.split()[1]) * 1024
  return None


def _left_in_cgroups():
  """Yields what each control group of this process, and those above it, leave."""
  for line in _lines(PROC / 'self' / 'cgroup'):
    number, controllers, path = line.split(':', 2)
    is_v2 = number == '0' and not controllers
    if not is_v2 and 'memory' not in controllers.split(','):
      continue
    folder, limit, use, prefix = _LIMITS['v2' if is_v2 else 'v1']
    root = CGROUPS / folder
    place = root / path.lstrip('/')
    for group in (place, *place.parents):
      with contextlib.suppress(OSError, ValueError):  # 'max': no limit
        allowed = int((group / limit).read_text())
        used = int((group / use).read_text())
        stat = dict(entry.split() for entry in _lines(group / 'memory.stat'))
        files = sum(int(stat.get(prefix + name, 0)) for name in _DROPPABLE)
        yield allowed - used + files
      if group == root:
        break


def _left_of_address_space():
  limit, _ = resource.getrlimit(resource.RLIMIT_AS)
  lines = _lines(PROC / 'self' / 'statm')
  if limit == resource.RLIM_INFINITY or not lines:
    return None
  return limit - int(lines[0].split()[0]) * resource.getpagesize()


def _lines(path):
  try:
    return path.read_text().splitlines()
  except OSError:
    return []
