"""How fast a compiled step can be: compute, kernels, network, and what hides what."""

import collections
import dataclasses
import functools
from typing import Any

from gpt_jax.config.schema import parse_layer
from gpt_jax.hlo import costs as hlo_costs
from gpt_jax.model import flops
from gpt_jax.parallel import chips
from gpt_jax.planning import inputs, kernel_model, network
from gpt_jax.program import throughput

_SECONDS_PER_DAY = 86400


@dataclasses.dataclass(frozen=True)
class CollectiveStats:
  """Collectives of one kind along the same mesh axes, in a step, for one device."""

  kind: str
  axes: tuple[str, ...]
  group_size: int
  asynchronous: bool
  count: int
  bytes: int
  """Payload: size of the whole arrays."""
  wire_bytes: float
  """Received by a device, if collectives run as rings."""
  model_ms: float
  overlaps_ms: dict[str, float] | None
  """Time by class of the operations between start and end; None: the end stands
  elsewhere, such as in the next turn of a loop. Empty when nothing runs meanwhile."""

  @property
  def exposed_ms(self):
    """Returns the time that even at best nothing hides."""
    if not self.asynchronous:
      return self.model_ms
    if self.overlaps_ms is None:
      return 0.0
    return max(0.0, self.model_ms - sum(self.overlaps_ms.values()))


@dataclasses.dataclass(frozen=True)
class StepTime:
  """The fields of a Plan that speak of time, and the operations behind them."""

  fields: dict[str, Any]
  costs: hlo_costs.Costs
  kernel_flops: dict[str, int]
  """Of the products of each attention kernel, by its instruction."""


def measure(program, topology, text):
  """Returns the StepTime of a compiled step, given as HLO text."""
  config, mesh, chip = program.config, program.rules.mesh, topology.chip
  devices = len(topology.devices)
  works = {}

  def kernel_cycles(kernel):
    if chip is None:
      return 0
    work = works[kernel] = kernel_model.work(
      kernel,
      chip,
      causal=program.objective.visibility != 'bidirectional',
      window_of=lambda op_name: _window(op_name, config.model),
    )
    seconds = work.seconds if work else kernel.declared_flops / chip.peak_flops
    return seconds * chip.clock_hz

  costs = hlo_costs.measure(text, kernel_cycles)
  if chip is None:
    peak = _peak_of_this_machine(topology, config.model.dtype)
    compute_ms, ms_per_cycle = 1e3 * costs.matmul_flops / peak, 0.0
  else:
    peak, ms_per_cycle = chip.peak_flops, 1e3 / chip.clock_hz
    compute_ms = ms_per_cycle * costs.estimated_cycles
  kernels = _kernels(costs, works, ms_per_cycle)
  kernel_ms = sum(each['ms'] for each in kernels)
  traffic = [_traffic(each, mesh, topology, ms_per_cycle) for each in costs.collectives]
  network_ms = sum(each.model_ms for each in traffic)
  exposed = sum(each.exposed_ms for each in traffic)
  bound_ms = exposed + max(compute_ms + kernel_ms, network_ms - exposed)
  analytic = flops.palm_flops_per_token(config.model, config.data.seq_len)
  tokens = inputs.tokens_per_step(program)
  days = program.horizon.total_tokens / tokens * bound_ms / 1e3 / _SECONDS_PER_DAY
  passes = config.model.num_layers * config.train.grad_accum
  fields = dict(
    matmul_flops_per_chip=costs.matmul_flops,
    analytic_flops_per_chip=analytic * tokens / devices,
    compute_ms=compute_ms,
    kernel_calls=costs.kernel_calls,
    kernel_calls_per_layer=costs.kernel_calls / passes,
    kernel_ms=kernel_ms,
    kernels=kernels,
    classes=_classes(costs, ms_per_cycle, works),
    collectives=tuple(traffic),
    collective_bytes=hlo_costs.by_kind(traffic, lambda each: each.bytes),
    wire_bytes=hlo_costs.by_kind(traffic, lambda each: each.wire_bytes),
    asynchronous_wire_share=_asynchronous_share(traffic),
    network_ms=network_ms,
    exposed_network_ms=exposed,
    step_ms_bound=bound_ms,
    tokens_per_second_bound=tokens / bound_ms * 1e3,
    tokens_per_day_bound=tokens / bound_ms * 1e3 * _SECONDS_PER_DAY,
    mfu_bound=analytic * tokens / devices / peak / bound_ms * 1e3,
    days_bound=days,
    chip_hours_bound=days * 24 * topology.num_chips,
    unknown_trip_counts=costs.unknown_trip_counts,
  )
  flops_of = {kernel.name: work.flops for kernel, work in works.items() if work}
  return StepTime(fields, costs, flops_of)


def _peak_of_this_machine(topology, dtype):
  """Returns the FLOP/s of a device, published or measured."""
  device = topology.devices[0]
  if published := chips.peak_flops(device.device_kind, dtype):
    return published
  # Virtual CPU devices share the cores: together they take what all their work takes.
  shares = len(topology.devices) if device.platform == 'cpu' else 1
  return _measured(dtype) / shares


_measured = functools.cache(throughput.measured_matmul_flops)


def _window(op_name, model):
  """Returns how many keys back the layer at `op_name` sees; None: all."""
  for part in op_name.split('/'):
    if part.startswith('block_') and part[6:].isdigit():
      return parse_layer(model.layer_pattern[int(part[6:])])
  return None


def _kernels(costs, works, ms_per_cycle):
  """Returns phase, calls and ms of each kernel of the step."""
  calls, cycles = collections.Counter(), collections.Counter()
  for op, count in costs.ops:
    if op.kernel:
      work = works.get(op.kernel)
      name = work.phase if work else f'{op.kernel.name} (declared FLOPs)'
      calls[name] += count
      cycles[name] += count * op.cycles
  return tuple(
    dict(phase=name, calls=calls[name], ms=ms_per_cycle * cycles[name])
    for name in calls
  )


def _classes(costs, ms_per_cycle, works):
  """Returns time, products and bytes of each class of operations."""
  sums = collections.defaultdict(collections.Counter)
  for op, count in costs.ops:
    work = works.get(op.kernel) if op.kernel else None
    sums[op.kind]['cycles'] += count * op.cycles
    sums[op.kind]['flops'] += count * (work.flops if work else op.flops)
    sums[op.kind]['bytes'] += count * op.hbm_bytes
  return tuple(
    dict(
      kind=kind,
      ms=ms_per_cycle * total['cycles'],
      tflops=total['flops'] / 1e12,
      hbm_gib=total['bytes'] / 2**30,
    )
    for kind, total in sums.items()
  )


def _traffic(collective, mesh, topology, ms_per_cycle):
  window = collective.window
  return CollectiveStats(
    kind=collective.kind,
    axes=network.mesh_axes(collective.group, mesh),
    group_size=len(collective.group),
    asynchronous=collective.asynchronous,
    count=collective.count,
    bytes=collective.payload_bytes,
    wire_bytes=collective.wire_bytes,
    model_ms=1e3 * network.seconds(collective, mesh, topology),
    overlaps_ms=(None if window is None else {k: v * ms_per_cycle for k, v in window}),
  )


def _asynchronous_share(traffic):
  total = sum(each.wire_bytes for each in traffic)
  hidden = sum(each.wire_bytes for each in traffic if each.asynchronous)
  return hidden / total if total else None
