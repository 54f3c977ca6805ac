"""What an environment says about the run that this process belongs to."""

import dataclasses

from gpt_jax.core.errors import UserError

ALONE = 'to run this process alone, set GPT_JAX_NUM_PROCESSES=1'


@dataclasses.dataclass(frozen=True)
class Evidence:
  """Which process of how many this is, who says so, and where process 0 listens."""

  source: str
  variables: dict[str, str]
  """What was read, as it stood there."""
  coordinator: str
  """host:port of process 0."""
  num_processes: int
  process_id: int
  hosts: tuple[str, ...] = ()
  """The host of each process, where known."""
  local_devices: tuple[int, ...] | None = None
  """Indices of the GPUs of this process; None: all that it sees."""

  def __str__(self):
    seen = ', '.join(f'{name}={value}' for name, value in self.variables.items())
    return f'{self.source}: {seen}'

  def label(self, process):
    """Returns `2 (n3)`: a process, with its host where that is known."""
    return f'{process} ({self.hosts[process]})' if self.hosts else str(process)


class Variables:
  """An environment's variables by name, remembering those that were read."""

  def __init__(self, source, environ):
    self._source, self._environ = source, environ
    self.read = {}

  def get(self, name):
    """Returns the value of a variable; None where it is unset or empty."""
    value = self._environ.get(name) or None
    if value is not None:
      self.read[name] = value
    return value

  def number(self, name, default=None) -> int:
    """Returns the whole number in a variable; without a default it has to be set."""
    value = self.get(name)
    if value is None and default is not None:
      return default
    self.require(name)
    try:
      return int(self.read[name])
    except ValueError:
      raise UserError(f'{name}={value!r}: expected a whole number.') from None

  def require(self, *names):
    """Raises UserError where one of `names` is not set."""
    missing = [name for name in names if self.get(name) is None]
    if missing:
      raise UserError(
        f'{self._source}: {self} says that this process belongs to a run of several,'
        f' but {" and ".join(missing)} {"is" if len(missing) == 1 else "are"} not set;'
        f' set what is missing, or, {ALONE}.'
      )

  def require_index(self, index, count):
    """Raises UserError where `index` is none of 0 to `count` - 1."""
    if not 0 <= index < count:
      raise UserError(
        f'{self._source}: {self} makes this process {index} of {count}; expected 0 to'
        f' {count - 1}.'
      )

  def __str__(self):
    return ', '.join(f'{name}={value}' for name, value in self.read.items())

  def counts_several(self, name):
    """Returns whether a variable, where it is set, is a whole number above 1."""
    value = self._environ.get(name) or '1'
    if not value.isdecimal():
      raise UserError(f'{name}={value!r}: expected a whole number; or, {ALONE}.')
    return int(value) > 1


def host_port(host, port):
  """Returns `host:port`, an IPv6 address in brackets."""
  return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def local_devices(rank, count, environ):
  """Returns the GPUs of process `rank` of `count` on this host; None for all it sees.

  One each, or an equal share of those that are listed as visible. Where fewer are
  visible than there are processes, the launcher has divided them already.
  """
  if count <= 1:
    return None
  names = ('CUDA_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES', 'HIP_VISIBLE_DEVICES')
  listed = next((environ[name] for name in names if environ.get(name)), None)
  if listed is None:
    return (rank,)
  share = len(listed.split(',')) // count
  return tuple(range(rank * share, (rank + 1) * share)) or None
