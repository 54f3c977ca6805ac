"""What one run of a compiled program costs, added up over its HLO text.

`compiled.cost_analysis()` counts the body of a loop once, knows nothing of the network,
and its `optimal_seconds` turns negative on real training steps; so the text is read
instead. FLOPs are those of matrix products, two per multiply-add. Cycles are XLA:TPU's
own estimate for each instruction (`"estimated_cycles"`); Pallas kernels and collectives
have none. All sums are for one device and count each turn of each loop.
"""

import collections
import dataclasses
import math
import re

import numpy as np

from gpt_jax import hlo_text

COLLECTIVES = (
  'all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'ragged-all-to-all',
  'collective-permute', 'collective-broadcast',
)  # fmt: skip

BETWEEN_SLICES = 'slice-exchange'
"""What XLA:TPU makes of the part of a collective that leaves the slice: a send to the
host and a recv from it, which the hosts sum up or join meanwhile."""

_PALLAS = 'tpu_custom_call'
_BEGIN, _END = 'AsyncCollectiveStart', 'AsyncCollectiveDone'
_GOES_ON = 'async_collective_fusion'
_GATHERED = ('all-gather',)  # the payload is what comes out; elsewhere what goes in


@dataclasses.dataclass(frozen=True)
class Collective:
  """All collectives of a program with one kind, group and way of running."""

  kind: str
  group: tuple[int, ...]
  """The partitions that the first of them joins; () between slices."""
  asynchronous: bool
  """Whether XLA lets other instructions run meanwhile."""
  count: int
  payload_bytes: int
  """Size of the whole array: what a gather yields, what a reduction takes."""

  @property
  def wire_bytes(self):
    """Returns what each device receives on a ring: (n - 1)/n of the payload.

    An all-reduce is a reduce-scatter and a gather, so twice that; a permutation and a
    broadcast bring the array as it is.
    """
    if self.kind in ('collective-permute', 'collective-broadcast', BETWEEN_SLICES):
      return float(self.payload_bytes)
    n = len(self.group)
    rounds = 2 if self.kind == 'all-reduce' else 1
    return rounds * self.payload_bytes * (n - 1) / n


@dataclasses.dataclass(frozen=True)
class Costs:
  """Sums over one run of a program on one device."""

  matmul_flops: int
  estimated_cycles: int
  """0 where the backend writes none: everywhere but on TPU."""
  collectives: tuple[Collective, ...]
  kernel_calls: int
  """Of Pallas kernels on TPU."""
  kernel_flops: int
  """As far as the kernels declare them."""
  unknown_trip_counts: int
  """Loops counted as one turn because their end could not be read; 0 is expected."""


def measure(text):
  """Returns the Costs of `compiled.as_text()`."""
  module = hlo_text.parse(text)
  sums = _Walker(module).walk(module.entry)
  never_begun = sums.under_way.keys() - sums.begun
  counts, payloads = collections.Counter(), collections.Counter()
  for each in [*sums.collectives, *(sums.under_way[key] for key in never_begun)]:
    key = (each.kind, each.group, each.asynchronous)
    counts[key] += each.count
    payloads[key] += each.payload_bytes
  return Costs(
    matmul_flops=sums.flops,
    estimated_cycles=sums.cycles,
    collectives=tuple(
      Collective(kind, group, is_async, counts[kind, group, is_async], payload)
      for (kind, group, is_async), payload in payloads.items()
    ),
    kernel_calls=sums.kernel_calls,
    kernel_flops=sums.kernel_flops,
    unknown_trip_counts=sums.unknown,
  )


def by_kind(found, value):
  """Returns {kind: sum of `value(collective)`} over the Collectives `found`."""
  sums = collections.Counter()
  for collective in found:
    sums[collective.kind] += value(collective)
  return dict(sums)


@dataclasses.dataclass
class _Sums:
  """Costs under way."""

  flops: int = 0
  cycles: int = 0
  kernel_calls: int = 0
  kernel_flops: int = 0
  unknown: int = 0
  collectives: list = dataclasses.field(default_factory=list)
  # TPU spreads an asynchronous collective over several fusions that all repeat it under
  # its channel: one begins it, some go on with it beside a matrix product, perhaps in
  # a loop, one ends it. It counts where it begins.
  begun: set = dataclasses.field(default_factory=set)
  under_way: dict = dataclasses.field(default_factory=dict)

  def add(self, other, times=1):
    self.flops += times * other.flops
    self.cycles += times * other.cycles
    self.kernel_calls += times * other.kernel_calls
    self.kernel_flops += times * other.kernel_flops
    self.unknown += other.unknown
    self.collectives += [_repeat(each, times) for each in other.collectives]
    self.begun |= other.begun
    self.under_way |= other.under_way


def _repeat(collective, times):
  return dataclasses.replace(
    collective,
    count=collective.count * times,
    payload_bytes=collective.payload_bytes * times,
  )


class _Walker:
  """Adds up computations from the entry down, each once."""

  def __init__(self, module):
    self._module = module
    self._known = {}

  def walk(self, name, asynchronous=False):
    """Returns the _Sums of one run of the computation `name`."""
    if (name, asynchronous) not in self._known:
      sums = _Sums()
      computation = self._module.computations[name]
      for instruction in computation.instructions.values():
        self._add(sums, instruction, computation, asynchronous)
      self._known[name, asynchronous] = sums
    return self._known[name, asynchronous]

  def _add(self, sums, instruction, computation, asynchronous):
    sums.cycles += int(instruction.attribute(r'"estimated_cycles":"(\d+)"') or 0)
    opcode = instruction.opcode
    kind = opcode.removesuffix('-start')
    if opcode == 'while':
      turns = self._module.trip_count(instruction, computation)
      sums.unknown += turns is None
      body = instruction.attribute(r'body=%?([\w.\-]+)')
      sums.add(self.walk(body), 1 if turns is None else turns)
    elif opcode == 'conditional':
      sums.add(max(map(self.walk, _branches(instruction)), key=_dearness))
    elif opcode == 'fusion':
      self._add_fusion(sums, instruction, asynchronous)
    elif opcode in ('call', 'async-start') and instruction.called:
      sums.add(self.walk(instruction.called, asynchronous or opcode == 'async-start'))
    elif opcode == 'convolution':
      sums.flops += convolution_flops(instruction, computation)
    elif opcode == 'dot':
      sums.flops += dot_flops(instruction, computation)
    elif opcode == 'custom-call' and f'"{_PALLAS}"' in instruction.attributes:
      sums.kernel_calls += 1
      declared = instruction.attribute(r'"cost_estimate":\{[^}]*"flops":"?(\d+)')
      sums.kernel_flops += int(declared or 0)
    elif opcode == 'recv' and 'is_host_transfer=true' in instruction.attributes:
      arrived = hlo_text.arrays(instruction.type)[0]  # the others are its handles
      sums.collectives.append(
        Collective(BETWEEN_SLICES, (), True, 1, hlo_text.array_bytes(*arrived))
      )
    elif kind in COLLECTIVES:
      is_async = asynchronous or opcode != kind
      sums.collectives.append(
        self._collective(kind, instruction, computation, is_async)
      )

  def _add_fusion(self, sums, fusion, asynchronous):
    inner = self._module.computations[fusion.called]
    begins = self._targets(inner, _BEGIN)
    inside = self.walk(fusion.called, asynchronous or begins)
    collectives = inside.collectives
    channels = {
      instruction.attribute(r'\bchannel_id=(\d+)'): instruction
      for instruction in inner.instructions.values()
      if instruction.opcode in COLLECTIVES
    }
    if begins:
      sums.begun |= channels.keys()
    elif self._targets(inner, _END) or _GOES_ON in fusion.called:
      collectives = []
      for channel, instruction in channels.items():
        sums.under_way[channel] = self._collective(
          instruction.opcode, instruction, inner, True
        )
    elif 'all-reduce-scatter' in fusion.called:
      # TPU's form of a reduce-scatter: an all-reduce, of which one slice is kept.
      collectives = [_as_scatter(each) for each in collectives]
    # The cycles of a fusion stand beside it; those of its parts would count twice.
    sums.add(dataclasses.replace(inside, cycles=0, collectives=collectives))

  def _targets(self, computation, target):
    """Returns whether a custom call of `computation` has the `target`."""
    return any(
      instruction.opcode == 'custom-call' and f'"{target}"' in instruction.attributes
      for instruction in computation.instructions.values()
    )

  def _collective(self, kind, instruction, computation, asynchronous):
    group = hlo_text.replica_group(instruction, self._module.num_partitions)
    operands = [computation.instructions[name] for name in instruction.operands]
    if kind == 'collective-permute':
      operands = operands[:1]  # the others say where it goes
    payload = sum(hlo_text.num_bytes(operand.type) for operand in operands)
    if kind in _GATHERED:
      payload *= len(group)
    return Collective(kind, group, asynchronous, 1, payload)


def _as_scatter(collective):
  is_reduction = collective.kind == 'all-reduce'
  return dataclasses.replace(
    collective, kind='reduce-scatter' if is_reduction else collective.kind
  )


def _branches(conditional):
  """Returns the names of the computations that a conditional chooses from."""
  several = conditional.attribute(r'branch_computations=\{([^}]*)\}')
  if several:
    return [name.strip(' %') for name in several.split(',')]
  two = r'\b(?:true|false)_computation=%?([\w.\-]+)'
  return re.findall(two, conditional.attributes)


def _dearness(sums):
  return sums.cycles, sums.flops


def dot_flops(dot, computation):
  """Returns the FLOPs of a dot instruction."""
  lhs = computation.instructions[dot.operands[0]].dims
  summed = dot.attribute(r'lhs_contracting_dims=\{([\d,]*)\}') or ''
  depth = math.prod(lhs[int(axis)] for axis in summed.split(',') if axis)
  return 2 * math.prod(dot.dims) * depth


def convolution_flops(convolution, computation):
  """Returns the FLOPs of a convolution: each product of two numbers that are there.

  XLA:TPU writes matrix products as convolutions, batched ones with dilations and
  strides that make most positions of the window fall between or beside the inputs;
  such positions are not computed and not counted.
  """
  lhs, rhs = (computation.instructions[o].dims for o in convolution.operands[:2])
  labels = convolution.attribute(r'dim_labels=(\w+->\w+)')
  left, right, out = labels.replace('->', '_').split('_')
  window = _window(convolution.attribute(r'window=\{([^}]*)\}') or '')
  flops = 2 * convolution.dims[out.index('b')] * convolution.dims[out.index('f')]
  flops *= rhs[right.index('i')]
  for axis, label in enumerate(sorted(label for label in left if label.isdigit())):
    flops *= _products(
      lhs[left.index(label)],
      convolution.dims[out.index(label)],
      **{name: values[axis] for name, values in window.items()},
    )
  return flops


def _window(text):
  """Returns {name: a number for each spatial axis} of a window such as size=2x3."""
  window = {}
  for field in text.split():
    name, _, values = field.partition('=')
    if name in ('size', 'stride', 'pad', 'lhs_dilate', 'rhs_dilate'):
      # Padding is low_high; the high end follows from the sizes.
      window[name] = [int(value.split('_')[0]) for value in values.split('x')]
  return window


def _products(num_in, num_out, size=1, stride=1, pad=0, lhs_dilate=1, rhs_dilate=1):
  """Returns how many pairs of output and window position meet an input, on one axis."""
  outputs, taps = np.arange(num_out)[:, None], np.arange(size)[None]
  position = outputs * stride - pad + taps * rhs_dilate
  inside = (position >= 0) & (position <= (num_in - 1) * lhs_dilate)
  return int(np.sum(inside & (position % lhs_dilate == 0)))
