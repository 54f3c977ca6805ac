"""What one run of a compiled program costs on one device, summed over its HLO text.

`compiled.cost_analysis()` counts the body of a loop once, knows nothing of the network,
and its `optimal_seconds` turns negative on real training steps. Cycles are XLA:TPU's
estimate for each instruction (`"estimated_cycles"`); kernels and collectives have none.
"""

import collections
import dataclasses
import re
from typing import Any

from gpt_jax.hlo import op_costs, parser
from gpt_jax.hlo.collectives import as_reduce_scatter, between_slices, read
from gpt_jax.hlo.types import (
  COLLECTIVES,
  DATA_MOVEMENT,
  ELEMENTWISE,
  KERNEL,
  MATMUL,
  Collective,
  Kernel,
  Op,
)

_PALLAS = 'tpu_custom_call'
_START, _DONE = 'AsyncCollectiveStart', 'AsyncCollectiveDone'
_CONTINUES = 'async_collective_fusion'
# XLA:TPU writes 2^62 and more where it has no estimate: fusions of a gather of int8.
_NO_ESTIMATE = 2**50
_MOVES_DATA = {
  'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'copy', 'transpose',
  'reshape', 'slice', 'dynamic-slice', 'dynamic-update-slice', 'pad', 'concatenate',
  'broadcast', 'iota', 'copy-start', 'copy-done', 'slice-start', 'slice-done',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Costs:
  """Sums over one run of a program on one device."""

  ops: tuple[tuple[Op, int], ...]
  """Each op and how often it runs, every iteration of every loop counted."""
  collectives: tuple[Collective, ...]
  unknown_trip_counts: int
  """Loops counted as one iteration as their end could not be read; 0 is expected."""
  without_estimate: int = 0
  """Ops for which XLA has no estimate of the cycles: those that `least_cycles` says."""

  @property
  def matmul_flops(self):
    """Returns the FLOPs of matmuls outside of kernels."""
    return sum(count * op.flops for op, count in self.ops if op.kind != KERNEL)

  @property
  def estimated_cycles(self):
    """Returns XLA's cycles, without kernels; 0 on CPU and GPU, which write none."""
    return sum(count * op.cycles for op, count in self.ops if op.kind != KERNEL)

  @property
  def kernels(self):
    return [(op.kernel, count) for op, count in self.ops if op.kernel]

  @property
  def kernel_calls(self):
    return sum(count for _, count in self.kernels)


def measure(
  text,
  kernel_cost=lambda kernel: (0, kernel.declared_flops),
  least_cycles=lambda flops, hbm_bytes: 0,
):
  """Returns the Costs of `compiled.as_text()`.

  Args:
    kernel_cost: Kernel -> (cycles, FLOPs), by a model; XLA has none.
    least_cycles: (FLOPs, bytes read and written) -> cycles at best, of other ops that
      XLA has no estimate of.
  """
  module = parser.parse(text)
  walker = _Walker(module, kernel_cost, least_cycles)
  sums = walker.walk(module.entry)
  never_started = sums.in_flight.keys() - sums.started_channels
  found = sums.collectives + [
    each for key in never_started for each in sums.in_flight[key]
  ]
  return Costs(
    ops=tuple(sums.ops.items()),
    collectives=_merged(found),
    unknown_trip_counts=sums.unknown,
    without_estimate=len(walker.without_estimate),
  )


def by_kind(found, value) -> dict[str, Any]:
  """Returns {kind: sum of `value(collective)`} over the Collectives `found`."""
  sums = collections.Counter()
  for collective in found:
    sums[collective.kind] += value(collective)
  return dict(sums)


def _merged(collectives):
  groups = collections.defaultdict(list)
  for each in collectives:
    is_open = each.overlapped_cycles is None
    groups[each.kind, each.group, each.asynchronous, is_open].append(each)
  return tuple(
    Collective(
      kind=kind,
      group=group,
      asynchronous=asynchronous,
      count=sum(each.count for each in members),
      payload_bytes=sum(each.payload_bytes for each in members),
      overlapped_cycles=None if is_open else _sum_overlaps(members),
    )
    for (kind, group, asynchronous, is_open), members in groups.items()
  )


def _sum_overlaps(members):
  total = collections.Counter()
  for each in members:
    total.update(dict(each.overlapped_cycles))
  return tuple(sorted(total.items()))


@dataclasses.dataclass
class _Sums:
  ops: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  cycles: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  """By class of op."""
  unknown: int = 0
  collectives: list = dataclasses.field(default_factory=list)
  # XLA:TPU spreads an asynchronous collective over several fusions that all repeat it
  # under its channel: one starts it, some continue it beside a matmul, perhaps in a
  # loop, one ends it. It counts where it starts.
  started_channels: set = dataclasses.field(default_factory=set)
  in_flight: dict = dataclasses.field(default_factory=dict)
  started: dict = dataclasses.field(default_factory=dict)
  """Key of a collective -> (indices in `collectives`, cycles so far), until its end."""

  def run(self, op):
    self.ops[op] += 1
    self.cycles[op.kind] += op.cycles

  def add(self, other, times=1):
    for op, count in other.ops.items():
      self.ops[op] += times * count
    for kind, cycles in other.cycles.items():
      self.cycles[kind] += times * cycles
    self.unknown += other.unknown
    self.collectives += [_repeat(each, times) for each in other.collectives]
    self.started_channels |= other.started_channels
    self.in_flight |= other.in_flight

  def start(self, key, first):
    """Lets the collectives from index `first` run until `end(key)`."""
    indices = range(first, len(self.collectives))
    self.started[key] = indices, self.cycles.copy()

  def end(self, key):
    indices, before = self.started.pop(key, ((), None))
    for i in indices:
      overlap = tuple(sorted((self.cycles - before).items()))
      self.collectives[i] = dataclasses.replace(
        self.collectives[i], overlapped_cycles=overlap
      )


def _repeat(collective, times):
  overlap = collective.overlapped_cycles
  return dataclasses.replace(
    collective,
    count=collective.count * times,
    payload_bytes=collective.payload_bytes * times,
    overlapped_cycles=overlap
    and tuple((kind, cycles * times) for kind, cycles in overlap),
  )


class _Walker:
  """Sums computations from the entry down, each once."""

  def __init__(self, module, kernel_cost, least_cycles):
    self._module = module
    self._kernel_cost = kernel_cost
    self._least_cycles = least_cycles
    self.without_estimate = set()
    self._known = {}

  def walk(self, name, asynchronous=False):
    if (name, asynchronous) not in self._known:
      sums = _Sums()
      computation = self._module.computations[name]
      for instruction in computation.instructions.values():
        self._add(sums, instruction, computation, asynchronous)
      self._known[name, asynchronous] = sums
    return self._known[name, asynchronous]

  def _add(self, sums, instruction, computation, asynchronous):
    opcode, before = instruction.opcode, len(sums.collectives)
    kind = opcode.removesuffix('-start')
    if opcode == 'while':
      trips = self._module.trip_count(instruction, computation)
      sums.unknown += trips is None
      body = instruction.attribute(r'body=%?([\w.\-]+)')
      sums.add(self.walk(body), 1 if trips is None else trips)
    elif opcode == 'conditional':
      sums.add(max(map(self.walk, _branches(instruction)), key=_cost_key))
    elif opcode == 'fusion':
      self._add_fusion(sums, instruction, computation, asynchronous)
    elif opcode in ('call', 'async-start') and instruction.called:
      inside = self.walk(instruction.called, asynchronous or opcode == 'async-start')
      if '"sparsecore"' in instruction.attributes:
        # Cores beside the main one, on TPU7x: their cycles cost it nothing.
        inside = dataclasses.replace(inside, ops={}, cycles={})
      sums.add(inside)
    elif opcode == 'custom-call' and f'"{_PALLAS}"' in instruction.attributes:
      self._run_kernel(sums, instruction, computation)
    elif opcode == 'custom-call' and (wrapped := _wrapped(instruction)):
      sums.add(self.walk(wrapped, asynchronous))
    elif opcode == 'recv' and 'is_host_transfer=true' in instruction.attributes:
      sums.collectives += between_slices(instruction)
    elif kind in COLLECTIVES:
      is_async = asynchronous or opcode != kind
      sums.collectives += self._collectives(kind, instruction, computation, is_async)
    elif opcode == 'async-update':
      if started := sums.started.pop(instruction.operands[0], None):
        sums.started[instruction.name] = started
    else:
      self._run_plain(sums, instruction, computation)
    if len(sums.collectives) > before and opcode.endswith(('-start', 'recv')):
      sums.start(instruction.name, before)
    elif opcode.endswith('-done'):
      sums.end(instruction.operands[0])

  def _run_plain(self, sums, instruction, computation):
    flops = op_costs.flops(instruction, computation)
    cycles = _cycles(instruction)
    if flops or cycles:
      kind = MATMUL if flops else _class_of({instruction.opcode})
      sums.run(self._op(instruction, computation, kind, flops, cycles))

  def _op(self, instruction, computation, kind, flops, cycles, kernel=None):
    hbm_bytes = op_costs.hbm_bytes(instruction, computation, self._module)
    if cycles >= _NO_ESTIMATE:
      self.without_estimate.add(instruction.name)
      cycles = self._least_cycles(flops, hbm_bytes)
    return Op(
      name=instruction.name,
      op_name=_op_name(instruction),
      kind=kind,
      flops=flops,
      cycles=cycles,
      hbm_bytes=hbm_bytes,
      kernel=kernel,
    )

  def _run_kernel(self, sums, call, computation):
    declared = call.attribute(r'"cost_estimate":\{[^}]*"flops":"?(\d+)')
    operands = [computation.instructions[name].type for name in call.operands]
    kernel = Kernel(
      name=call.name,
      op_name=_op_name(call),
      operands=tuple(parser.arrays(type_text)[0] for type_text in operands),
      results=tuple(parser.arrays(call.type)),
      metadata=call.attribute(r'"xprof_metadata":"(\{.*?\})"') or '',
      declared_flops=int(declared or 0),
      hbm_bytes=op_costs.hbm_bytes(call, computation, self._module),
    )
    cycles, flops = self._kernel_cost(kernel)
    sums.run(self._op(call, computation, KERNEL, flops, round(cycles), kernel))

  def _add_fusion(self, sums, fusion, computation, asynchronous):
    inner = self._module.computations[fusion.called]
    starts = self._calls(inner, _START)
    inside = self.walk(fusion.called, asynchronous or starts)
    collectives, before = inside.collectives, len(sums.collectives)
    channels = {
      instruction.attribute(r'\bchannel_id=(\d+)'): instruction
      for instruction in inner.instructions.values()
      if instruction.opcode in COLLECTIVES
    }
    ends = self._calls(inner, _DONE)
    if starts:
      sums.started_channels |= channels.keys()
    elif ends or _CONTINUES in fusion.called:
      collectives = []
      for channel, instruction in channels.items():
        sums.in_flight[channel] = self._collectives(
          instruction.opcode, instruction, inner, True
        )
    elif 'all-reduce-scatter' in fusion.called:
      # XLA:TPU's form of a reduce-scatter: an all-reduce, of which one slice is kept.
      collectives = [as_reduce_scatter(each) for each in collectives]
    # A fusion has cycles of its own; those of its parts would count twice.
    kernels = {op: count for op, count in inside.ops.items() if op.kernel}
    sums.add(
      dataclasses.replace(
        inside, ops=kernels, cycles={}, collectives=collectives, in_flight={}
      )
    )
    flops = sum(n * op.flops for op, n in inside.ops.items() if not op.kernel)
    if flops or _cycles(fusion):
      opcodes = {each.opcode for each in inner.instructions.values()}
      kind = MATMUL if flops else _class_of(opcodes)
      sums.run(self._op(fusion, computation, kind, flops, _cycles(fusion)))
    for channel in channels:
      if starts:
        sums.start(channel, before)
      elif ends:
        sums.end(channel)

  def _calls(self, computation, target):
    return any(
      instruction.opcode == 'custom-call' and f'"{target}"' in instruction.attributes
      for instruction in computation.instructions.values()
    )

  def _collectives(self, kind, instruction, computation, asynchronous):
    return read(kind, instruction, computation, self._module, asynchronous)


def _class_of(opcodes):
  return DATA_MOVEMENT if opcodes <= _MOVES_DATA else ELEMENTWISE


def _wrapped(custom_call):
  """Returns the one computation that a custom call offloads, or None."""
  return custom_call.attribute(r'called_computations=\{%?([\w.\-]+)\}')


def _cycles(instruction):
  return int(instruction.attribute(r'"estimated_cycles":"(\d+)"') or 0)


def _op_name(instruction):
  return instruction.attribute(r'\bop_name="([^"]*)"') or ''


def _branches(conditional):
  several = conditional.attribute(r'branch_computations=\{([^}]*)\}')
  if several:
    return [name.strip(' %') for name in several.split(',')]
  two = r'\b(?:true|false)_computation=%?([\w.\-]+)'
  return re.findall(two, conditional.attributes)


def _cost_key(sums):
  return sums.cycles.total(), sum(n * op.flops for op, n in sums.ops.items())
