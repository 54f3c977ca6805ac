"""TPU slices under the names that Google Cloud has for them.

`--topology` of `launch` is that of `plan`: v5e:4x4, or 2xv5e:4x4 for two slices.
Sources: cloud.google.com/tpu/docs, one page per version (shapes, hosts, software), and
cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus (accelerators of GKE).
"""

import dataclasses
import math
import re

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel.chips import TPUS

_FLAT = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_CUBES = ('2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8',
          '8x8x16', '8x16x16', '16x16x16', '16x16x24')  # fmt: skip
CHIPS_PER_HOST = 4
SINGLE_HOST_CHIPS = 8
"""Of flat slices: one virtual machine can have up to eight chips of them."""


@dataclasses.dataclass(frozen=True)
class Kind:
  """How one version of TPU is asked for; '' where a place does not have it."""

  prefix: str  # of the accelerator type of the TPU API, before its number
  per_chip: int  # what that number counts, for each chip: cores or chips
  runtime: str  # the software version of a TPU VM that is meant for jax
  gke: str  # the accelerator that nodes of GKE are labelled with
  shapes: tuple[str, ...]  # the usual ones, of each number of chips the most compact
  max_chips: int
  any_shape: bool = False  # whether the TPU API takes shapes beside those


KINDS = {
  'v4': Kind(
    'v4', 2, 'tpu-ubuntu2204-base', 'tpu-v4-podslice', _CUBES, 4096, any_shape=True
  ),
  'v5e': Kind(
    'v5litepod', 1, 'v2-alpha-tpuv5-lite', 'tpu-v5-lite-podslice', _FLAT, 256
  ),
  'v5p': Kind('v5p', 2, 'v2-alpha-tpuv5', 'tpu-v5p-slice', _CUBES, 6144),
  'v6e': Kind('v6e', 1, 'v2-alpha-tpuv6e', 'tpu-v6e-slice', _FLAT, 256),
  'tpu7x': Kind('', 0, '', 'tpu7x', _CUBES, 9216),
}
"""The chips of `parallel/chips.TPUS`, which has what a plan needs of them."""


@dataclasses.dataclass(frozen=True)
class Slices:
  """One or several TPU slices of one shape, as a run asks for them."""

  chip: str
  sizes: tuple[int, ...]
  count: int = 1

  @property
  def kind(self):
    return KINDS[self.chip]

  @property
  def shape(self):
    """Returns the shape as text, such as 4x4."""
    return 'x'.join(map(str, self.sizes))

  @property
  def name(self):
    """Returns the name that `plan --topology` has for them."""
    return f'{self.count}x' * (self.count > 1) + f'{self.chip}:{self.shape}'

  @property
  def chips(self):
    """Returns the chips of one slice."""
    return math.prod(self.sizes)

  @property
  def hosts(self):
    """Returns the virtual machines of one slice, each a process of the run."""
    return math.ceil(self.chips / self.chips_per_host)

  @property
  def chips_per_host(self):
    if len(self.sizes) == 2 and self.chips <= SINGLE_HOST_CHIPS:
      return self.chips
    return CHIPS_PER_HOST

  @property
  def num_devices(self):
    """Returns how many devices jax sees, on all hosts and slices."""
    return self.count * self.chips * TPUS[self.chip].devices_per_chip

  @property
  def accelerator_type(self):
    """Returns the TPU API's name of one slice, such as v5litepod-16."""
    return f'{self.kind.prefix}-{self.chips * self.kind.per_chip}'


def parse(text, slices=1):
  """Returns the Slices of `v5e:4x4` or `2xv5e:4x4`; raises ConfigError.

  Args:
    slices: their number where it is given apart; 1: what `text` says.
  """
  found = re.fullmatch(r'(?:(\d+)x)?([A-Za-z]\w*):(\d+(?:x\d+)+)', text)
  if not found:
    meant = of_accelerator_type(text)
    raise ConfigError(
      f'--topology={text}: expected CHIP:SHAPE such as v5e:4x4, or'
      ' SLICESxCHIP:SHAPE such as 2xv5e:4x4'
      + (f'; did you mean {meant}?' if meant else '.')
    )
  count, chip = int(found[1] or 1), found[2]
  if chip not in KINDS:
    hint = registry.nearest(chip, KINDS)
    raise ConfigError(
      f'--topology={text}: no TPU is called {chip}; expected one of {", ".join(KINDS)}'
      + (f'; did you mean {hint!r}?' if hint else '.')
    )
  if not count or (found[1] and slices not in (1, count)):
    raise ConfigError(
      f'--topology={text} and --nodes={slices}: they name different numbers of slices;'
      ' leave one of the two out.'
    )
  sizes = tuple(map(int, found[3].split('x')))
  if reason := _misfit(KINDS[chip], sizes):
    near = ', '.join(_near(chip, sizes))
    raise ConfigError(f'--topology={text}: {reason}; slices of {chip} are {near}.')
  return Slices(chip, sizes, max(count, slices))


def of_accelerator_type(text):
  """Returns the topology of a name such as v5litepod-16 or v5e-16, or None."""
  found = re.fullmatch(r'(\d+x)?([A-Za-z]\w*)[-:](\d+)', text)
  if not found:
    return None
  for chip, kind in KINDS.items():
    if found[2] in (chip, kind.prefix):
      chips = int(found[3]) / (kind.per_chip or 1)
      for shape in kind.shapes:
        if math.prod(map(int, shape.split('x'))) == chips:
          return f'{found[1] or ""}{chip}:{shape}'
  return None


def _misfit(kind, sizes):
  """Returns why no slice of the kind has these sizes, or None."""
  shape = 'x'.join(map(str, sizes))
  if shape in kind.shapes:
    return None
  dims = kind.shapes[0].count('x') + 1
  if len(sizes) != dims:
    return f'expected {dims} sizes'
  if math.prod(sizes) > kind.max_chips:
    return (
      f'a slice has at most {kind.max_chips} chips, and these are {math.prod(sizes)}'
    )
  if dims == 2:
    return 'no slice has this shape'
  if list(sizes) != sorted(sizes):
    return 'sizes are given from the smallest to the largest'
  if any(size % 4 for size in sizes):
    return 'above 2x4x4, each size is a multiple of 4'
  return None


def _near(chip, sizes):
  """Returns the shapes whose number of chips is nearest to that of `sizes`."""
  wanted = max(1, math.prod(sizes))

  def distance(shape):
    return abs(math.log2(math.prod(map(int, shape.split('x'))) / wanted))

  nearest = sorted(KINDS[chip].shapes, key=distance)[:4]
  return [f'{chip}:{shape}' for shape in KINDS[chip].shapes if shape in nearest]
