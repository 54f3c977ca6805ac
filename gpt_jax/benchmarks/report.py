"""Metrics of timed cases: tokens a second, shares of peaks, ratios to a peer."""

import dataclasses
import os
from typing import Any

import jax

from gpt_jax.benchmarks import peft_costs, timing, torch_gpt2
from gpt_jax.core import pytree
from gpt_jax.parallel import chips


@dataclasses.dataclass(frozen=True)
class CaseMetrics:
  """One case over all rounds; None: unknown, or meaningless for this case."""

  median_ms: float
  low_ms: float  # the lower quartile over rounds, as `high_ms` is the upper
  high_ms: float
  rounds_ms: tuple[float, ...]
  compile_s: float | None
  memory_gib: float | None
  tokens_per_second: float | None
  tflops: float | None
  gb_per_second: float | None
  mfu: float | None  # `tflops` over those of `matmul` of the same bench
  bandwidth_share: float | None
  """`gb_per_second` over those of `copy` of the same bench."""


@dataclasses.dataclass(frozen=True)
class BenchReport:
  device: dict[str, Any]
  run: dict[str, Any]
  rounds: int
  peaks: dict[str, float | None]
  cases: dict[str, CaseMetrics]
  peer: dict[str, str] | None
  ratios: dict[str, dict[str, float]]
  """Case -> our time over the peer's, paired by round: below 1 ours is faster."""
  peft: dict[str, dict[str, Any]]
  """Way of fine-tuning -> what it costs, as `peft_costs.by_label` has it."""
  plan: dict[str, Any] | None
  """The bound of `gpt-jax plan` on the step, and the measured step over it."""
  peak_memory_gib: float | None
  peak_memory_from: str
  first_loss: dict[str, float]
  skipped: dict[str, str]

  def to_dict(self):
    return dataclasses.asdict(self)


def make_report(cases, seconds, skipped, *, rounds, device, run, first_loss, peer=None):
  """Returns the BenchReport of what `timing.measure` returned for `cases`.

  `device`, `run` and `peer` are of `describe_device`, `describe_run` and
  `torch_gpt2.describe`.
  """
  measured = [c for c in cases if getattr(c, 'name', None) in seconds]
  peaks = _peaks(measured, seconds, device)
  cases_found = {c.name: _metrics(c, seconds[c.name], peaks) for c in measured}
  memory_gib, source = peak_memory(measured)
  return BenchReport(
    device=device,
    run=run,
    rounds=rounds,
    peaks=peaks,
    cases=cases_found,
    peer=peer,
    ratios=_ratios(seconds),
    peft=peft_costs.by_label(measured, seconds),
    plan=None,
    peak_memory_gib=memory_gib,
    peak_memory_from=source,
    first_loss=first_loss,
    skipped={each.name: each.reason for each in skipped},
  )


def with_plan(report, topology, bound_ms):
  """Returns `report` with the ratio of the measured step to the bound of a Plan."""
  ratio = report.cases['step'].median_ms / bound_ms
  plan = dict(topology=topology, step_ms_bound=bound_ms, ratio=ratio)
  return dataclasses.replace(report, plan=plan)


def describe_device(dtype):
  """Returns the devices, and cores and load of the host before anything is timed."""
  device = jax.devices()[0]
  published = chips.peak_flops(device.device_kind, dtype)
  return dict(
    kind=device.device_kind,
    platform=device.platform,
    count=jax.device_count(),
    cores=torch_gpt2.threads(),
    load=os.getloadavg()[0],  # mean number of running processes in the last minute
    published_tflops=None if published is None else published / 1e12,
  )


def describe_run(workload):
  """Returns what was timed: sizes, dtype, kernel and loss of the program."""
  program, config = workload.program, workload.config
  return dict(
    parameters=pytree.count(program.parameters),
    batch_size=workload.rows,
    grad_accum=config.train.grad_accum,
    seq_len=config.data.seq_len,
    tokens_per_step=workload.tokens,
    dtype=config.model.dtype,
    attention_kernel=program.attention_kernel,
    loss=program.loss,
    remat=config.model.remat,
    scan_layers=config.model.scan_layers,
    mesh={axis: n for axis, n in program.rules.mesh.shape.items() if n > 1},
  )


def peak_memory(cases):
  """Returns `(GiB, source)`: the most that a device held over all cases.

  Where the device has no statistics (CPU): the most that one of the programs needs.
  """
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    return stats['peak_bytes_in_use'] / 2**30, 'memory_stats'
  known = [case.memory_gib for case in cases if case.memory_gib is not None]
  return (max(known) if known else None), 'memory_analysis'


def _peaks(cases, seconds, device):
  # The best round, for a peak is what can be reached.
  by_name = {case.name: case for case in cases}
  found: dict[str, float | None] = dict(matmul_tflops=None, copy_gb_per_second=None)
  if 'matmul' in by_name:
    found['matmul_tflops'] = by_name['matmul'].flops / min(seconds['matmul']) / 1e12
  if 'copy' in by_name:
    found['copy_gb_per_second'] = by_name['copy'].bytes / min(seconds['copy']) / 1e9
  return found | dict(published_tflops=device['published_tflops'])


def _metrics(case, seconds, peaks):
  spread = timing.spread(seconds)

  def rate(amount, unit=1.0):
    return None if amount is None else amount / spread.median / unit

  tflops, gb = rate(case.flops, 1e12), rate(case.bytes, 1e9)
  return CaseMetrics(
    median_ms=1e3 * spread.median,
    low_ms=1e3 * spread.low,
    high_ms=1e3 * spread.high,
    rounds_ms=tuple(1e3 * s for s in seconds),
    compile_s=case.compile_seconds,
    memory_gib=case.memory_gib,
    tokens_per_second=rate(case.tokens),
    tflops=tflops,
    gb_per_second=gb,
    mfu=_share(tflops, peaks['matmul_tflops']),
    bandwidth_share=_share(gb, peaks['copy_gb_per_second']),
  )


def _share(value, peak):
  return None if value is None or peak is None else value / peak


def _ratios(seconds):
  found = {}
  for name in seconds:
    peer = torch_gpt2.PREFIX + name
    if peer in seconds:
      spread = timing.paired_ratio(seconds[name], seconds[peer])
      found[name] = dataclasses.asdict(spread)
  return found
