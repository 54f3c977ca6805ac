"""One plan: the training step compiled for a topology, and what is read from it."""

import dataclasses
import os
import pathlib
import resource
import tempfile
import time
from typing import Any

import jax

from gpt_jax.hlo import liveness, parser
from gpt_jax.model import flops
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs, memory, step_time
from gpt_jax.program.build import build_program

NOT_MODELLED = (
  'reading data, evaluation, checkpoints, restarts, hosts that lag behind',
  'contention between collectives, and what hiding one behind compute costs',
  'attention kernels run by a model (planning/kernel_model.py); other Pallas kernels'
  ' count with the FLOPs that they declare, at peak',
  'cycles are XLA:TPU\'s estimate before running: better for ratios than for dates',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a step takes. Per chip means per jax device; None: not known."""

  topology: str
  device_kind: str
  num_devices: int
  mesh: dict[str, int]
  attention_kernel: str
  loss: str
  remat: str
  parameters: int
  batch_size: int
  tokens_per_step: int
  steps: int
  fits: bool
  hbm_gib_per_chip: float
  memory_gib_per_chip: float | None
  """Arguments, results that do not replace them, and temporaries; without the code."""
  short_gib_per_chip: float | None
  memory_gib_by_class: dict[str, float]
  largest_buffers: tuple[dict[str, Any], ...] = ()
  """gib, type, kind, origin, source, instruction of each, the largest first."""
  schedule_peak_gib: float | None = None
  """Sum of the temporaries that live together at the peak, by the schedule; what XLA
  takes beyond it is fragmentation."""
  matmul_flops_per_chip: int | None = None
  analytic_flops_per_chip: float | None = None
  """6 N + 12 L H Q T a token (PaLM), shared out."""
  compute_ms: float | None = None
  kernel_calls: int | None = None
  kernel_calls_per_layer: float | None = None
  """Of a forward and backward pass over one microbatch."""
  kernel_ms: float | None = None
  kernels: tuple[dict[str, Any], ...] = ()
  """phase, calls and ms of each attention kernel."""
  classes: tuple[dict[str, Any], ...] = ()
  """ms, TFLOPs and GiB to and from HBM of each class of operations."""
  collectives: tuple[step_time.CollectiveStats, ...] = ()
  collective_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
  wire_bytes: dict[str, float] = dataclasses.field(default_factory=dict)
  asynchronous_wire_share: float | None = None
  network_ms: float | None = None
  exposed_network_ms: float | None = None
  """Of collectives that let nothing else run, or outlast what runs meanwhile."""
  step_ms_bound: float | None = None
  tokens_per_second_bound: float | None = None
  tokens_per_day_bound: float | None = None
  mfu_bound: float | None = None
  days_bound: float | None = None
  chip_hours_bound: float | None = None
  unknown_trip_counts: int | None = None
  compile_seconds: float = 0.0
  host_gib: float = 0.0
  """Most memory that this process has held."""
  not_modelled: tuple[str, ...] = NOT_MODELLED

  def to_dict(self):
    """Returns everything as plain dicts and lists, ready for JSON."""
    return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Compiled:
  """A plan and the operations it was added up from."""

  plan: Plan
  pace: step_time.StepTime | None
  """None for a step that does not fit."""
  text: str = ''


def make_plan(config, topology, *, dump_hlo=None):
  """Returns the Plan of `config` on a topologies.Topology.

  Args:
    dump_hlo: a path; the compiled text is written there.
  Raises ConfigError where `train` would refuse the config, and when the size of the
  vocabulary is not to be had without learning a tokenizer.
  """
  compiled = compile_plan(config, topology)
  if dump_hlo and compiled.text:
    with open(dump_hlo, 'w', encoding='utf-8') as file:
      file.write(compiled.text)
  return compiled.plan


def compile_plan(config, topology):
  """Returns the Compiled of `config` on `topology`; errors as those of `make_plan`."""
  mesh = make_mesh(config.parallel.mesh, topology.devices)
  program = build_program(config, vocab=inputs.vocabulary(config), mesh=mesh)
  batch = inputs.abstract_batch(program)
  known = _known_before_compiling(program, batch, topology)
  begin = time.perf_counter()
  with tempfile.TemporaryDirectory() as folder:
    try:
      lowered = program.step.lower(program.abstract_state, batch)
      executable = _compile(lowered, folder)
    except jax.errors.JaxRuntimeError as error:
      refusal = memory.refusal(error)
      if refusal is None:
        raise
      short, needed = refusal
      failed: dict[str, Any] = dict(
        fits=False, memory_gib_per_chip=needed, short_gib_per_chip=short
      )
      return Compiled(Plan(**known, **failed, **_effort(begin)), None)
    effort = _effort(begin)
    text = _text(executable, folder)
  usage = liveness.measure(parser.parse(text), text)
  classes = known['memory_gib_by_class']
  classes |= memory.of_temporaries(executable, usage)
  total = sum(gib for name, gib in classes.items() if name != 'code')
  # XLA checks TPUs itself; of CPUs, virtual devices share the memory of the host.
  room = known['hbm_gib_per_chip']
  paced = step_time.measure(program, topology, text)
  plan = Plan(
    **known,
    **paced.fields,
    **effort,
    fits=topology.chip is not None or total <= room,
    memory_gib_per_chip=total,
    short_gib_per_chip=max(0.0, total - room) if topology.chip is None else 0.0,
    largest_buffers=memory.largest(usage),
    schedule_peak_gib=usage.peak_bytes / memory.GIB,
  )
  return Compiled(plan, paced, text)


def _text(executable, folder):
  """Returns the text of a compiled step; `folder` holds what the compiler dumped.

  libtpu may be newer than the jax beside it and hand over instructions that this one
  refuses to read (collectives of sparse cores): then its own dump is read.
  """
  try:
    return executable.as_text()
  except jax.errors.JaxRuntimeError:
    dumps = sorted(pathlib.Path(folder).glob('*.after_codegen.txt'))
    if not dumps:
      raise
    return max(dumps, key=lambda path: path.stat().st_size).read_text()


def _compile(lowered, folder):
  """Returns the compiled step, past the cache: absent devices load nothing from it."""
  enabled = jax.config.values['jax_enable_compilation_cache']
  jax.config.update('jax_enable_compilation_cache', False)
  try:
    return lowered.compile({'xla_dump_to': folder, 'xla_dump_hlo_as_text': True})
  finally:
    jax.config.update('jax_enable_compilation_cache', enabled)


def _effort(begin) -> dict[str, Any]:
  used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  return dict(compile_seconds=time.perf_counter() - begin, host_gib=used / memory.GIB)


def _known_before_compiling(program, batch, topology) -> dict[str, Any]:
  config = program.config
  chip = topology.chip
  return dict(
    topology=topology.name,
    device_kind=chip.name if chip else topology.devices[0].device_kind,
    num_devices=len(topology.devices),
    mesh=dict(program.rules.mesh.shape),
    attention_kernel=program.attention_kernel,
    loss=program.loss,
    remat=config.model.remat,
    parameters=flops.parameter_count(config.model),
    batch_size=program.horizon.stages[-1].batch_size,
    tokens_per_step=inputs.tokens_per_step(program),
    steps=program.horizon.total_steps,
    hbm_gib_per_chip=chip.hbm_gib if chip else _room(topology),
    memory_gib_by_class=memory.of_arguments(program.abstract_state, batch),
  )


def _room(topology):
  """Returns the GiB of a device of this machine; CPU devices share the host's."""
  limit = (topology.devices[0].memory_stats() or {}).get('bytes_limit')
  if limit:
    return limit / memory.GIB
  host = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / memory.GIB
  return host / len(topology.devices)
