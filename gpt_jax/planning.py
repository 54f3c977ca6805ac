"""A run before it is launched: does it fit, and how fast can it be?

`make_plan` compiles the training step that `train` would run, for devices that need not
exist, and reads memory, FLOPs, cycles and collectives from the result. Nothing is
allocated and no data is read. Bounds come from XLA's own estimate of the compute and a
model of the network; what neither knows is listed in `NOT_MODELLED`.
"""

import dataclasses
import math
import os
import re
import resource
import time
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax import hlo_costs, interconnect, objectives
from gpt_jax.data import make as make_source
from gpt_jax.data import pipeline
from gpt_jax.errors import ConfigError
from gpt_jax.model import flops
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.train import step, throughput

NOT_MODELLED = (
  'reading data, evaluation, checkpoints, restarts, hosts that lag behind',
  'contention between collectives, and what hiding one behind compute costs',
  'time of Pallas kernels beyond the FLOPs that they declare, at peak',
  'cycles are XLA:TPU\'s estimate before running: better for ratios than for dates',
)  # fmt: skip

_KNOWN_SIZES = {'byte': 257, 'gpt2': 50257}
_SYNTHETIC = ('markov', 'uniform', 'copy', 'dyck', 'induction')
_UNITS = {'K': 2**-20, 'M': 2**-10, 'G': 1.0, 'T': 2**10}  # in GiB
_GIB = 2**30
_SECONDS_PER_DAY = 86400


@dataclasses.dataclass(frozen=True)
class Traffic:
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


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a step takes. Per chip means per jax device; None: not known."""

  topology: str
  device_kind: str
  num_devices: int
  mesh: dict[str, int]
  attention_kernel: str
  parameters: int
  tokens_per_step: int
  steps: int
  fits: bool
  hbm_gib_per_chip: float
  memory_gib_per_chip: float | None
  """Arguments, results that do not replace them, and temporaries; without the code."""
  short_gib_per_chip: float | None
  memory_gib_by_class: dict[str, float]
  matmul_flops_per_chip: int | None = None
  analytic_flops_per_chip: float | None = None
  """6 N + 12 L H Q T a token (PaLM), shared out."""
  compute_ms: float | None = None
  kernel_calls: int | None = None
  kernel_ms: float | None = None
  collectives: tuple[Traffic, ...] = ()
  collective_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
  wire_bytes: dict[str, float] = dataclasses.field(default_factory=dict)
  network_ms: float | None = None
  exposed_network_ms: float | None = None
  """Of collectives that let nothing else run."""
  step_ms_bound: float | None = None
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


def make_plan(config, topology, *, dump_hlo=None):
  """Returns the Plan of `config` on a topologies.Topology.

  Args:
    dump_hlo: a path; the compiled text is written there.
  Raises ConfigError where `train` would refuse the config, and when the size of the
  vocabulary is not to be had without learning a tokenizer.
  """
  mesh = make_mesh(config.parallel.mesh, topology.devices)
  program = step.build(config, vocab=vocabulary(config), mesh=mesh)
  batch = abstract_batch(program)
  known = _known_before_compiling(program, batch, topology)
  begin = time.perf_counter()
  lowered = program.step.lower(program.abstract_state, batch)
  try:
    compiled = _compile(lowered)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error) and 'Hbm' not in str(error):
      raise
    short, needed = shortage(str(error))
    return Plan(
      **known,
      fits=False,
      memory_gib_per_chip=needed,
      short_gib_per_chip=short,
      compile_seconds=time.perf_counter() - begin,
      host_gib=_host_peak_gib(),
    )
  seconds = time.perf_counter() - begin
  text = compiled.as_text()
  if dump_hlo:
    with open(dump_hlo, 'w', encoding='utf-8') as file:
      file.write(text)
  known['memory_gib_by_class'] |= _temporaries(compiled)
  classes = known['memory_gib_by_class']
  total = sum(gib for name, gib in classes.items() if name != 'code')
  # XLA checks TPUs itself; of CPUs, virtual devices share the memory of the host.
  room = known['hbm_gib_per_chip']
  return Plan(
    **known,
    **_pace(program, topology, hlo_costs.measure(text)),
    fits=topology.chip is not None or total <= room,
    memory_gib_per_chip=total,
    short_gib_per_chip=max(0.0, total - room) if topology.chip is None else 0.0,
    compile_seconds=seconds,
    host_gib=_host_peak_gib(),
  )


def vocabulary(config):
  """Returns the objectives.Vocab that `train` would have, without any training text.

  `model.vocab_size` where it is set; else the fixed size of the byte and GPT-2
  tokenizers, the size that a BPE is asked to learn, or that of a synthetic language.
  """
  extra = objectives.extra_tokens(config.objective, config.data.seq_len)
  if config.model.vocab_size is not None:
    return objectives.Vocab(size=config.model.vocab_size - extra)
  parts = [part for part, _ in pipeline.members(config.data).values()]
  languages = [make_source(part) for part in parts if part.source in _SYNTHETIC]
  if languages:
    # As pipeline.open_tokenizer, which would open sources of text too.
    return objectives.Vocab(max(getattr(one, 'vocab_size', 0) for one in languages))
  name = config.tokenizer.name
  if name == 'bpe':
    return objectives.Vocab(config.tokenizer.vocab_size)
  if name not in _KNOWN_SIZES:
    raise ConfigError(
      f'tokenizer.name={name!r}: how many tokens it has shows only once it is made;'
      ' give the number as --config.model.vocab_size=N.'
    )
  return objectives.Vocab(_KNOWN_SIZES[name])


def abstract_batch(program):
  """Returns the batch of the run's last stage, the largest, as ShapeDtypeStructs."""
  data = program.config.data
  rows = program.horizon.stages[-1].batch_size
  parts = [part for part, _ in pipeline.members(data).values()]
  apart = any(p.packing in ('first_fit', 'pad') or p.mask_documents for p in parts)
  names = ('tokens', 'segments', 'positions') if apart else ('tokens',)
  shape = jax.ShapeDtypeStruct(
    (rows, data.seq_len + 1), jnp.int32, sharding=program.batch_sharding
  )
  return dict.fromkeys(names, shape)


def shortage(message):
  """Returns (GiB missing, GiB needed) on a device, from XLA's refusal to compile.

  Either is None where the message does not tell. XLA gives up at the first sum that is
  too large, so both are lower bounds.
  """
  size = r'\(?(\d+(?:\.\d+)?)([KMGT])\)?'
  found = re.search(rf'[Uu]sed {size} of {size}', message) or re.search(
    rf'{size}[^.()]*exceeds[^.()]*{size}', message
  )
  if not found:
    return None, None
  needed, room = (float(found[i]) * _UNITS[found[i + 1]] for i in (1, 3))
  return needed - room, needed


def _compile(lowered):
  """Returns the compiled step, past the cache: absent devices load nothing from it."""
  enabled = jax.config.values['jax_enable_compilation_cache']
  jax.config.update('jax_enable_compilation_cache', False)
  try:
    return lowered.compile()
  finally:
    jax.config.update('jax_enable_compilation_cache', enabled)


def _known_before_compiling(program, batch, topology) -> dict[str, Any]:
  config, state = program.config, program.abstract_state
  chip = topology.chip
  return dict(
    topology=topology.name,
    device_kind=chip.name if chip else topology.devices[0].device_kind,
    num_devices=len(topology.devices),
    mesh=dict(program.rules.mesh.shape),
    attention_kernel=program.attention_kernel,
    parameters=flops.parameter_count(config.model),
    tokens_per_step=_tokens_per_step(program),
    steps=program.horizon.total_steps,
    hbm_gib_per_chip=(chip.hbm_gib if chip else _host_gib() / len(topology.devices)),
    memory_gib_by_class=dict(
      parameters=_gib_per_device(state.params),
      optimizer=_gib_per_device(state.opt_state),
      average=_gib_per_device(state.ema),
      batch=_gib_per_device(batch),
    ),
  )


def _tokens_per_step(program):
  return program.horizon.stages[-1].batch_size * program.config.data.seq_len


def _gib_per_device(tree):
  """Returns what one device holds of a tree of sharded ShapeDtypeStructs."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  ) / _GIB  # fmt: skip


def _temporaries(compiled):
  memory = compiled.memory_analysis()
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  return dict(
    temporaries=memory.temp_size_in_bytes / _GIB,
    results=max(0, results) / _GIB,
    code=memory.generated_code_size_in_bytes / _GIB,
  )


def _pace(program, topology, costs) -> dict[str, Any]:
  """Returns the fields of a Plan that speak of time, from hlo_costs.Costs."""
  config, mesh, chip = program.config, program.rules.mesh, topology.chip
  devices = len(topology.devices)
  if chip is None:
    # Virtual devices share the cores: together they take what all their work takes.
    peak = throughput.measured_matmul_flops(config.model.dtype) / devices
    compute_ms = 1e3 * costs.matmul_flops / peak
    kernel_ms = 0.0
  else:
    peak = chip.peak_flops
    compute_ms = 1e3 * costs.estimated_cycles / chip.clock_hz
    kernel_ms = 1e3 * costs.kernel_flops / peak
  traffic = [_traffic(each, mesh, topology) for each in costs.collectives]
  hidden = sum(each.model_ms for each in traffic if each.asynchronous)
  exposed = sum(each.model_ms for each in traffic if not each.asynchronous)
  bound_ms = exposed + max(compute_ms + kernel_ms, hidden)
  analytic = flops.palm_flops_per_token(config.model, config.data.seq_len)
  tokens = _tokens_per_step(program)
  days = program.horizon.total_tokens / tokens * bound_ms / 1e3 / _SECONDS_PER_DAY
  return dict(
    matmul_flops_per_chip=costs.matmul_flops,
    analytic_flops_per_chip=analytic * tokens / devices,
    compute_ms=compute_ms,
    kernel_calls=costs.kernel_calls,
    kernel_ms=kernel_ms,
    collectives=tuple(traffic),
    collective_bytes=hlo_costs.by_kind(traffic, lambda each: each.bytes),
    wire_bytes=hlo_costs.by_kind(traffic, lambda each: each.wire_bytes),
    network_ms=hidden + exposed,
    exposed_network_ms=exposed,
    step_ms_bound=bound_ms,
    tokens_per_day_bound=tokens / bound_ms * 1e3 * _SECONDS_PER_DAY,
    mfu_bound=analytic * tokens / devices / peak / bound_ms * 1e3,
    days_bound=days,
    chip_hours_bound=days * 24 * topology.num_chips,
    unknown_trip_counts=costs.unknown_trip_counts,
  )


def _traffic(collective, mesh, topology):
  return Traffic(
    kind=collective.kind,
    axes=interconnect.mesh_axes(collective.group, mesh),
    group_size=len(collective.group),
    asynchronous=collective.asynchronous,
    count=collective.count,
    bytes=collective.payload_bytes,
    wire_bytes=collective.wire_bytes,
    model_ms=1e3 * interconnect.seconds(collective, mesh, topology),
  )


def _host_gib():
  return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / _GIB


def _host_peak_gib():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB
