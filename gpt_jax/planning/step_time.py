"""How fast a compiled step can be: matmuls, kernels, network, and what overlaps."""

import collections
import dataclasses
import functools

from gpt_jax.config.schema import parse_layer
from gpt_jax.hlo import costs
from gpt_jax.model import flops
from gpt_jax.parallel import chips
from gpt_jax.planning import inputs, kernel_model, network
from gpt_jax.program import throughput

_SECONDS_PER_DAY = 86400


@dataclasses.dataclass(frozen=True)
class KernelTime:
  phase: str
  calls: int
  ms: float


@dataclasses.dataclass(frozen=True)
class OpClass:
  """One class of ops (`hlo.types.MATMUL` and so on) in a step."""

  kind: str
  ms: float
  tflops: float
  hbm_gib: float  # read from and written to HBM


@dataclasses.dataclass(frozen=True)
class StepTime:
  """Bounds on the time of a step; per chip means per jax device."""

  matmul_flops_per_chip: int
  analytic_flops_per_chip: float  # 6 N + 12 L H Q T a token (PaLM), shared out
  compute_ms: float
  kernel_calls: int
  kernel_calls_per_layer: float  # of a forward and backward pass over one microbatch
  kernel_ms: float
  kernels: tuple[KernelTime, ...]
  classes: tuple[OpClass, ...]
  step_ms_bound: float
  tokens_per_second_bound: float
  tokens_per_day_bound: float
  mfu_bound: float
  days_bound: float  # for the tokens of the run, at the batch size of its last stage
  chip_hours_bound: float
  unknown_trip_counts: int
  without_estimate: int
  """Ops that XLA has no estimate of, which count at the peaks of the chip."""


def measure(program, topology, text):
  """Returns (StepTime, Network, hlo Costs) of a compiled step, given as HLO text."""
  config, chip = program.config, topology.chip
  work_of = _kernel_work(program, chip)

  def kernel_cost(kernel):
    if chip is None:
      return 0, kernel.declared_flops
    work = work_of(kernel)
    if work is None:
      flops = kernel.declared_flops
      return flops / chip.peak_flops * chip.clock_hz, flops
    return work.seconds * chip.clock_hz, work.flops

  def least_cycles(flops, hbm_bytes):
    if chip is None:
      return 0
    seconds = max(flops / chip.peak_flops, hbm_bytes / chip.hbm_bandwidth)
    return seconds * chip.clock_hz

  total = costs.measure(text, kernel_cost, least_cycles)
  peak = chip.peak_flops if chip else _local_peak(topology, config.model.dtype)
  if chip:
    compute_ms = topology.ms_per_cycle * total.estimated_cycles
  else:
    compute_ms = 1e3 * total.matmul_flops / peak
  kernels = _kernels(total.ops, work_of, topology.ms_per_cycle)
  kernel_ms = sum(each.ms for each in kernels)
  net = network.measure(total.collectives, program.rules.mesh, topology)
  hidden_ms = net.network_ms - net.exposed_network_ms
  step_ms = net.exposed_network_ms + max(compute_ms + kernel_ms, hidden_ms)
  tokens = inputs.tokens_per_step(program)
  analytic = flops.of_program(program)
  analytic *= tokens / len(topology.devices)
  days = program.horizon.total_tokens / tokens * step_ms / 1e3 / _SECONDS_PER_DAY
  passes = config.model.num_layers * config.train.grad_accum
  time = StepTime(
    matmul_flops_per_chip=total.matmul_flops,
    analytic_flops_per_chip=analytic,
    compute_ms=compute_ms,
    kernel_calls=total.kernel_calls,
    kernel_calls_per_layer=total.kernel_calls / passes,
    kernel_ms=kernel_ms,
    kernels=kernels,
    classes=_classes(total.ops, topology.ms_per_cycle),
    step_ms_bound=step_ms,
    tokens_per_second_bound=tokens / step_ms * 1e3,
    tokens_per_day_bound=tokens / step_ms * 1e3 * _SECONDS_PER_DAY,
    mfu_bound=analytic / peak / step_ms * 1e3,
    days_bound=days,
    chip_hours_bound=days * 24 * topology.num_chips,
    unknown_trip_counts=total.unknown_trip_counts,
    without_estimate=total.without_estimate,
  )
  return time, net, total


def _kernel_work(program, chip):
  # Cached: hlo Kernel -> kernel_model.Work or None.

  def window(op_name):
    for part in op_name.split('/'):
      if part.startswith('block_') and part[6:].isdigit():
        return parse_layer(program.config.model.layer_pattern[int(part[6:])])
    return None

  is_causal = program.objective.visibility != 'bidirectional'
  return functools.cache(
    lambda kernel: kernel_model.work(kernel, chip, causal=is_causal, window_of=window)
  )


def _local_peak(topology, dtype):
  """Returns the FLOP/s of a device of this machine, published or measured."""
  device = topology.devices[0]
  if published := chips.peak_flops(device.device_kind, dtype):
    return published
  # Virtual CPU devices share the cores: together they take what all their work takes.
  shares = len(topology.devices) if device.platform == 'cpu' else 1
  return _measured(dtype) / shares


_measured = functools.cache(throughput.measured_matmul_flops)


def _kernels(ops, work_of, ms_per_cycle):
  calls, cycles = collections.Counter(), collections.Counter()
  for op, count in ops:
    if op.kernel:
      work = work_of(op.kernel)
      name = work.phase if work else f'{op.kernel.name} (declared FLOPs)'
      calls[name] += count
      cycles[name] += count * op.cycles
  return tuple(
    KernelTime(name, calls[name], ms_per_cycle * cycles[name]) for name in calls
  )


def _classes(ops, ms_per_cycle):
  sums = collections.defaultdict(collections.Counter)
  for op, count in ops:
    sums[op.kind].update(
      cycles=count * op.cycles, flops=count * op.flops, bytes=count * op.hbm_bytes
    )
  return tuple(
    OpClass(
      kind=kind,
      ms=ms_per_cycle * total['cycles'],
      tflops=total['flops'] / 1e12,
      hbm_gib=total['bytes'] / 2**30,
    )
    for kind, total in sums.items()
  )
