"""Devices to compile for: absent TPU slices; CPUs and GPUs of this machine.

Absent devices make a Mesh that programs compile for, with libtpu's own compiler (extra
`plan`). They run nothing, and no TPU is touched, not even one that is present.
"""

import contextlib
import dataclasses
import importlib.util
import os
import re

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, require_extra
from gpt_jax.launchers.slices import of_accelerator_type
from gpt_jax.parallel.chips import TPU, TPUS

_SHAPES = {2: '2x2, 4x4, 8x8 or 16x16', 3: '2x2x1, 4x4x4, 8x8x8 or 8x8x16'}

# Without them libtpu queries a metadata server, locks other processes out, logs much.
# Any accelerator type will do: the topology is what is compiled for.
_ENVIRONMENT = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'TPU_MIN_LOG_LEVEL': '3',
  'TPU_STDERR_LOG_LEVEL': '3',
}


def set_environment(name=''):
  """Sets what libtpu reads when it loads, and keeps jax on CPUs unless `name` is GPUs.

  To be called before jax makes its devices, best before jax is imported.
  """
  if name.split(':')[0] == 'gpu':
    return
  for variable, value in _ENVIRONMENT.items():
    os.environ.setdefault(variable, value)
  if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '2') == '2':
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'  # its errors come as exceptions too
  os.environ['JAX_PLATFORMS'] = 'cpu'
  import jax

  jax.config.update('jax_platforms', 'cpu')  # where jax was imported already


@dataclasses.dataclass(frozen=True)
class Topology:
  name: str
  devices: tuple
  chip: TPU | None  # None: CPUs and GPUs, whose compilers estimate no cycles
  num_slices: int = 1

  @property
  def ms_per_cycle(self):
    """Returns the length of a clock cycle, 0 where no cycles are estimated."""
    return 1e3 / self.chip.clock_hz if self.chip else 0.0

  @property
  def num_chips(self):
    return len(self.devices) // (self.chip.devices_per_chip if self.chip else 1)

  def slice_of(self, device):
    return getattr(device, 'slice_index', None) or 0


def parse(text):
  """Returns the Topology of `v5e:16x16`, `2xv5e:16x16` (two slices), `cpu:8` or `gpu`.

  Raises ConfigError for names and shapes that do not exist, for absent GPUs, and
  without libtpu.
  """
  if (here := text.split(':')[0]) in _HERE:
    return _HERE[here](text, _count(text))
  found = re.fullmatch(r'(?:(\d+)x)?([A-Za-z]\w*)(?::(\d+(?:x\d+)*))?', text)
  if not found:
    meant = of_accelerator_type(text)
    raise ConfigError(
      f'--topology={text}: expected CHIP:SHAPE such as v5e:16x16, SLICESxCHIP:SHAPE'
      ' such as 2xv5e:16x16, cpu:8 or gpu:8'
      + (f'; did you mean {meant}?' if meant else '.')
    )
  slices, kind, shape = int(found[1] or 1), found[2], found[3] or ''
  if kind not in TPUS:
    hint = registry.nearest(kind, TPUS)
    raise ConfigError(
      f'--topology={text}: no TPU is called {kind}; expected one of {", ".join(TPUS)}'
      ' with a shape, such as v5e:16x16, or the devices of this machine, cpu:N or gpu:N'
      ' (GPUs are planned for where they are)'
      + (f'; did you mean {hint!r}?' if hint else '.')
    )
  chip = TPUS[kind]
  sizes = [int(size) for size in shape.split('x') if size]
  if len(sizes) != chip.dims or not all(sizes) or not slices:
    raise ConfigError(
      f'--topology={text}: expected {chip.dims} sizes for {kind}, such as'
      f' {kind}:{_SHAPES[chip.dims].split(",")[0]}; others are {_SHAPES[chip.dims]}.'
    )
  devices = _tpu_devices(text, kind, sizes, slices)
  # By slice, each in the order of libtpu.
  ordered = sorted(devices, key=lambda d: (getattr(d, 'slice_index', None) or 0, d.id))
  return Topology(text, tuple(ordered), chip, slices)


def _tpu_devices(text, kind, sizes, slices):
  if importlib.util.find_spec('libtpu') is None:
    raise ConfigError(f'--topology={text} {require_extra("plan", "libtpu")}.')
  set_environment()
  from jax.errors import JaxRuntimeError
  from jax.experimental import topologies

  settings = {}
  if kind == 'v4':
    settings['chip_config_name'] = 'megacore'  # one jax device for the chip's two cores
  if min(sizes[:2]) < 2:  # less than a host, which has 2x2 by default
    bounds = [min(size, 2) for size in sizes[:2]] + [1]
    settings['chips_per_host_bounds'] = tuple(bounds)
  if slices > 1:
    settings['num_slices'] = slices
  shape = 'x'.join(map(str, sizes))
  try:
    description = topologies.get_topology_desc(
      platform='tpu', topology_name=f'{kind}:{shape}', **settings
    )
  except JaxRuntimeError as error:
    raise ConfigError(
      f'--topology={text}: libtpu has no such slice ({error}); usual shapes of {kind}'
      f' are {_SHAPES[len(sizes)]}.'
    ) from error
  return description.devices


def _count(text):
  kind, colon, count = text.partition(':')
  if colon and not (count.isdecimal() and int(count)):
    raise ConfigError(f'--topology={text}: expected {kind} or {kind}:N, N devices.')
  return int(count or 1)


def _cpus(text, wanted):
  set_environment()
  import jax

  if 'host_platform_device_count' not in os.environ.get('XLA_FLAGS', ''):
    with contextlib.suppress(RuntimeError):  # devices exist; there may be enough
      jax.config.update('jax_num_cpu_devices', wanted)
  devices = jax.devices('cpu')
  if len(devices) < wanted:
    raise ConfigError(
      f'--topology={text}: this process has {len(devices)} CPU devices already; set'
      f' XLA_FLAGS=--xla_force_host_platform_device_count={wanted} before it starts.'
    )
  return Topology(text, tuple(devices[:wanted]), None)


def _gpus(text, wanted):
  import jax

  try:
    devices = jax.devices('gpu')
  except RuntimeError as error:
    raise ConfigError(
      f'--topology={text}: jax finds no GPU here ({str(error).splitlines()[0]}); a GPU'
      " plan needs the GPU and pip install -e '.[cuda]'. TPU slices and cpu:N can be"
      ' planned anywhere.'
    ) from error
  if len(devices) < wanted:
    raise ConfigError(
      f'--topology={text}: this machine has {len(devices)}; give gpu:{len(devices)}.'
    )
  return Topology(text, tuple(devices[:wanted]), None)


_HERE = {'cpu': _cpus, 'gpu': _gpus}
