"""What one run of a compiled program costs, added up over its HLO text.

`compiled.cost_analysis()` counts the body of a loop once, knows nothing of the network,
and its `optimal_seconds` turns negative on real training steps; so the text is read
instead. Cycles are XLA:TPU's own estimate for each instruction
(`"estimated_cycles"`); Pallas kernels and collectives have none. All sums are for one
device and count each turn of each loop.
"""

import collections
import dataclasses
import re

from gpt_jax.hlo import collectives as hlo_collectives
from gpt_jax.hlo import op_costs, parser
from gpt_jax.hlo.types import (
  COLLECTIVES,
  ELEMENTWISE,
  KERNEL,
  MATMUL,
  MOVES,
  Collective,
  Kernel,
  Op,
)

_PALLAS = 'tpu_custom_call'
_BEGIN, _END = 'AsyncCollectiveStart', 'AsyncCollectiveDone'
_GOES_ON = 'async_collective_fusion'
_MOVING = {
  'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'copy', 'transpose',
  'reshape', 'slice', 'dynamic-slice', 'dynamic-update-slice', 'pad', 'concatenate',
  'broadcast', 'iota', 'copy-start', 'copy-done', 'slice-start', 'slice-done',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Costs:
  """Sums over one run of a program on one device."""

  ops: tuple[tuple[Op, int], ...]
  """Each op and how often it runs."""
  collectives: tuple[Collective, ...]
  unknown_trip_counts: int
  """Loops counted as one turn because their end could not be read; 0 is expected."""

  @property
  def matmul_flops(self):
    """Returns the FLOPs of matrix products outside of kernels."""
    return sum(count * op.flops for op, count in self.ops)

  @property
  def estimated_cycles(self):
    """Returns XLA's cycles; 0 where the backend writes none: everywhere but on TPU."""
    return sum(count * op.cycles for op, count in self.ops if op.kind != KERNEL)

  @property
  def kernels(self):
    """Returns [(Kernel, calls)] of Pallas kernels on TPU."""
    return [(op.kernel, count) for op, count in self.ops if op.kernel]

  @property
  def kernel_calls(self):
    """Returns how often kernels are called."""
    return sum(count for _, count in self.kernels)


def measure(text, kernel_cycles=lambda kernel: 0):
  """Returns the Costs of `compiled.as_text()`.

  Args:
    kernel_cycles: the cycles that a Kernel takes, by a model; XLA has none.
  """
  module = parser.parse(text)
  sums = _Walker(module, kernel_cycles).walk(module.entry)
  never_begun = sums.under_way.keys() - sums.begun
  found = sums.collectives + [
    each for key in never_begun for each in sums.under_way[key]
  ]
  return Costs(
    ops=tuple(sums.ops.items()),
    collectives=_added_up(found),
    unknown_trip_counts=sums.unknown,
  )


def by_kind(found, value):
  """Returns {kind: sum of `value(collective)`} over the Collectives `found`."""
  sums = collections.Counter()
  for collective in found:
    sums[collective.kind] += value(collective)
  return dict(sums)


def _added_up(collectives):
  groups = collections.defaultdict(list)
  for each in collectives:
    groups[each.kind, each.group, each.asynchronous, each.window is None].append(each)
  return tuple(
    Collective(
      kind=kind,
      group=group,
      asynchronous=asynchronous,
      count=sum(each.count for each in members),
      payload_bytes=sum(each.payload_bytes for each in members),
      window=None if is_open else _sum_windows(members),
    )
    for (kind, group, asynchronous, is_open), members in groups.items()
  )


def _sum_windows(members):
  total = collections.Counter()
  for each in members:
    total.update(dict(each.window))
  return tuple(sorted(total.items()))


@dataclasses.dataclass
class _Sums:
  """Costs under way."""

  ops: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  cycles: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  """By class of op."""
  unknown: int = 0
  collectives: list = dataclasses.field(default_factory=list)
  # TPU spreads an asynchronous collective over several fusions that all repeat it under
  # its channel: one begins it, some go on with it beside a matrix product, perhaps in
  # a loop, one ends it. It counts where it begins.
  begun: set = dataclasses.field(default_factory=set)
  under_way: dict = dataclasses.field(default_factory=dict)
  started: dict = dataclasses.field(default_factory=dict)
  """Key of a collective -> (places in `collectives`, cycles so far), until its end."""

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
    self.begun |= other.begun
    self.under_way |= other.under_way

  def start(self, key, first):
    """Notes that the collectives from place `first` on go on until `end(key)`."""
    places = range(first, len(self.collectives))
    self.started[key] = places, self.cycles.copy()

  def end(self, key):
    places, before = self.started.pop(key, ((), None))
    for place in places:
      passed = tuple(sorted((self.cycles - before).items()))
      self.collectives[place] = dataclasses.replace(
        self.collectives[place], window=passed
      )


def _repeat(collective, times):
  window = collective.window
  return dataclasses.replace(
    collective,
    count=collective.count * times,
    payload_bytes=collective.payload_bytes * times,
    window=window and tuple((kind, cycles * times) for kind, cycles in window),
  )


class _Walker:
  """Adds up computations from the entry down, each once."""

  def __init__(self, module, kernel_cycles):
    self._module = module
    self._kernel_cycles = kernel_cycles
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
    opcode, before = instruction.opcode, len(sums.collectives)
    kind = opcode.removesuffix('-start')
    if opcode == 'while':
      turns = self._module.trip_count(instruction, computation)
      sums.unknown += turns is None
      body = instruction.attribute(r'body=%?([\w.\-]+)')
      sums.add(self.walk(body), 1 if turns is None else turns)
    elif opcode == 'conditional':
      sums.add(max(map(self.walk, _branches(instruction)), key=_cost_key))
    elif opcode == 'fusion':
      self._add_fusion(sums, instruction, computation, asynchronous)
    elif opcode in ('call', 'async-start') and instruction.called:
      inside = self.walk(instruction.called, asynchronous or opcode == 'async-start')
      if '"sparsecore"' in instruction.attributes:
        # Of the cores beside the main one, on TPU7x: their cycles cost it nothing.
        inside = dataclasses.replace(inside, ops={}, cycles={})
      sums.add(inside)
    elif opcode == 'custom-call' and f'"{_PALLAS}"' in instruction.attributes:
      self._run_kernel(sums, instruction, computation)
    elif opcode == 'custom-call' and (held := _held(instruction)):
      sums.add(self.walk(held, asynchronous))
    elif opcode == 'recv' and 'is_host_transfer=true' in instruction.attributes:
      sums.collectives += hlo_collectives.from_host(instruction)
    elif kind in COLLECTIVES:
      is_async = asynchronous or opcode != kind
      sums.collectives += self._collectives(kind, instruction, computation, is_async)
    elif opcode == 'async-update':
      if begun := sums.started.pop(instruction.operands[0], None):
        sums.started[instruction.name] = begun
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
      moves = instruction.opcode in _MOVING
      kind = MATMUL if flops else MOVES if moves else ELEMENTWISE
      sums.run(self._op(instruction, computation, kind, flops, cycles))

  def _op(self, instruction, computation, kind, flops, cycles, kernel=None):
    return Op(
      name=instruction.name,
      op_name=_op_name(instruction),
      kind=kind,
      flops=flops,
      cycles=cycles,
      hbm_bytes=op_costs.hbm_bytes(instruction, computation, self._module),
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
    cycles = round(self._kernel_cycles(kernel))
    sums.run(self._op(call, computation, KERNEL, 0, cycles, kernel))

  def _add_fusion(self, sums, fusion, computation, asynchronous):
    inner = self._module.computations[fusion.called]
    begins = self._targets(inner, _BEGIN)
    inside = self.walk(fusion.called, asynchronous or begins)
    collectives, before = inside.collectives, len(sums.collectives)
    channels = {
      instruction.attribute(r'\bchannel_id=(\d+)'): instruction
      for instruction in inner.instructions.values()
      if instruction.opcode in COLLECTIVES
    }
    ends = self._targets(inner, _END)
    if begins:
      sums.begun |= channels.keys()
    elif ends or _GOES_ON in fusion.called:
      collectives = []
      for channel, instruction in channels.items():
        sums.under_way[channel] = self._collectives(
          instruction.opcode, instruction, inner, True
        )
    elif 'all-reduce-scatter' in fusion.called:
      # TPU's form of a reduce-scatter: an all-reduce, of which one slice is kept.
      collectives = [hlo_collectives.as_scatter(each) for each in collectives]
    # The cycles of a fusion stand beside it; those of its parts would count twice.
    kernels = {op: count for op, count in inside.ops.items() if op.kernel}
    sums.add(
      dataclasses.replace(
        inside, ops=kernels, cycles={}, collectives=collectives, under_way={}
      )
    )
    flops = sum(count * op.flops for op, count in inside.ops.items())
    if flops or _cycles(fusion):
      kind = MATMUL if flops else self._kind(inner)
      sums.run(self._op(fusion, computation, kind, flops, _cycles(fusion)))
    for channel in channels:
      if begins:
        sums.start(channel, before)
      elif ends:
        sums.end(channel)

  def _kind(self, computation):
    """Returns MOVES for a fusion that only moves data, else ELEMENTWISE."""
    opcodes = {each.opcode for each in computation.instructions.values()}
    return MOVES if opcodes <= _MOVING else ELEMENTWISE

  def _targets(self, computation, target):
    """Returns whether a custom call of `computation` has the `target`."""
    return any(
      instruction.opcode == 'custom-call' and f'"{target}"' in instruction.attributes
      for instruction in computation.instructions.values()
    )

  def _collectives(self, kind, instruction, computation, asynchronous):
    return hlo_collectives.read(
      kind, instruction, computation, self._module, asynchronous
    )


def _held(custom_call):
  """Returns the one computation that a custom call wraps (offloaded work), or None."""
  return custom_call.attribute(r'called_computations=\{%?([\w.\-]+)\}')


def _cycles(instruction):
  return int(instruction.attribute(r'"estimated_cycles":"(\d+)"') or 0)


def _op_name(instruction):
  return instruction.attribute(r'\bop_name="([^"]*)"') or ''


def _branches(conditional):
  """Returns the names of the computations that a conditional chooses from."""
  several = conditional.attribute(r'branch_computations=\{([^}]*)\}')
  if several:
    return [name.strip(' %') for name in several.split(',')]
  two = r'\b(?:true|false)_computation=%?([\w.\-]+)'
  return re.findall(two, conditional.attributes)


def _cost_key(sums):
  return sums.cycles.total(), sum(n * op.flops for op, n in sums.ops.items())
