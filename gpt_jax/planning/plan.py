"""One plan: the training step compiled for a topology, and what is read from it."""

import dataclasses
import pathlib
import resource
import tempfile
import time

import jax

from gpt_jax.hlo.costs import Costs
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs, memory, step_time
from gpt_jax.planning.memory import Memory
from gpt_jax.planning.network import Network
from gpt_jax.planning.step_time import StepTime
from gpt_jax.program import trained_sizes
from gpt_jax.program.trained_sizes import TrainedSizes

NOT_MODELLED = (
  'reading data, evaluation, checkpoints, restarts, slow hosts',
  'contention between collectives, and what overlapping one with compute costs',
  'attention kernels run by a model (planning/kernel_model.py); other Pallas kernels'
  ' count with the FLOPs that they declare, at peak',
  'cycles are XLA:TPU\'s estimate before running: better for ratios than for dates',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CompileCost:
  compile_seconds: float
  host_gib: float  # most memory that this process has held


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a step takes of each device; no `time`, no `network`: it does not fit."""

  topology: str
  device_kind: str
  num_devices: int
  mesh: dict[str, int]
  attention_kernel: str
  loss: str
  remat: str
  parameters: int
  trained: TrainedSizes
  batch_size: int
  tokens_per_step: int
  steps: int
  memory: Memory
  time: StepTime | None
  network: Network | None
  compilation: CompileCost
  not_modelled: tuple[str, ...] = NOT_MODELLED

  def to_dict(self):
    """Returns one flat dict for JSON: field -> value, None where it is not known."""
    values = dataclasses.asdict(self)
    values |= _trained_fields(self.trained, values.pop('trained'))
    sizes = values.pop('memory')
    for short, key in _MEMORY_KEYS.items():
      values[key] = sizes.pop(short)
    values |= sizes
    for name, kind in (
      ('time', StepTime), ('network', Network), ('compilation', CompileCost)
    ):  # fmt: skip
      empty = dict.fromkeys(field.name for field in dataclasses.fields(kind))
      values |= values.pop(name) or empty
    return values


_MEMORY_KEYS = {
  'hbm_gib': 'hbm_gib_per_chip',
  'total_gib': 'memory_gib_per_chip',
  'short_gib': 'short_gib_per_chip',
  'gib_by_class': 'memory_gib_by_class',
}


def _trained_fields(sizes, values):
  """Returns `{field: number}` of TrainedSizes, for JSON."""
  fields = {f'trained_{name}': value for name, value in values['now'].items()}
  fields |= {f'all_trained_{name}': value for name, value in values['whole'].items()}
  return fields | dict(
    frozen_bytes=sizes.frozen, frozen_bytes_in_full=sizes.frozen_in_full
  )


@dataclasses.dataclass(frozen=True)
class Compiled:
  plan: Plan
  costs: Costs | None  # None for a step that does not fit
  text: str = ''


def make_plan(config, topology, *, dump_hlo=None):
  """Returns the Plan of `config` on a Topology; writes the text to `dump_hlo`.

  Raises ConfigError where `train` would refuse the config, and where only building the
  tokenizer would show the size of the vocabulary.
  """
  compiled = compile_plan(config, topology)
  if dump_hlo and compiled.text:
    pathlib.Path(dump_hlo).write_text(compiled.text, encoding='utf-8')
  return compiled.plan


def compile_plan(config, topology, planned=None):
  """Returns the Compiled of `config` on `topology`; errors as those of `make_plan`.

  `planned`: workdir -> Config of runs that will be there, which the objective reads.
  """
  mesh = make_mesh(config.parallel.mesh, topology.devices)
  program = inputs.make_program(config, mesh, planned)
  batch = inputs.abstract_batch(program)
  arguments = memory.of_arguments(program.abstract_state, batch, program.frozen)
  begin = time.perf_counter()
  with tempfile.TemporaryDirectory() as folder:
    try:
      lowered = program.step.lower(program.abstract_state, batch)
      executable = _compile(lowered, folder)
    except jax.errors.JaxRuntimeError as error:
      short = memory.of_error(error, arguments, topology)
      if short is None:
        raise
      plan = _make_plan(program, topology, short, _compile_cost(begin))
      return Compiled(plan, None)
    cost = _compile_cost(begin)
    text = _text(executable, folder)
  needed = memory.of_compiled(executable, text, arguments, topology)
  times, network, costs = step_time.measure(program, topology, text)
  plan = _make_plan(program, topology, needed, cost, times, network)
  return Compiled(plan, costs, text)


def _text(executable, folder):
  """Returns the text of a compiled step, `folder` being that of the compiler's dump."""
  try:
    return executable.as_text()
  except jax.errors.JaxRuntimeError:
    # libtpu may be newer than the jax beside it and use instructions that jax cannot
    # parse (collectives of sparse cores); the dump has them.
    dumps = sorted(pathlib.Path(folder).glob('*.after_codegen.txt'))
    if not dumps:
      raise
    return max(dumps, key=lambda path: path.stat().st_size).read_text()


def _compile(lowered, folder):
  # Past the compilation cache: absent devices cannot load from it.
  enabled = jax.config.values['jax_enable_compilation_cache']
  jax.config.update('jax_enable_compilation_cache', False)
  try:
    return lowered.compile({'xla_dump_to': folder, 'xla_dump_hlo_as_text': True})
  finally:
    jax.config.update('jax_enable_compilation_cache', enabled)


def _compile_cost(begin):
  used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  return CompileCost(time.perf_counter() - begin, used / memory.GIB)


def _make_plan(program, topology, needed, cost, times=None, network=None):
  config, chip = program.config, topology.chip
  trained = trained_sizes.of_program(program)
  return Plan(
    topology=topology.name,
    device_kind=chip.name if chip else topology.devices[0].device_kind,
    num_devices=len(topology.devices),
    mesh=dict(program.rules.mesh.shape),
    attention_kernel=program.attention_kernel,
    loss=program.loss,
    remat=config.model.remat,
    parameters=trained.parameters,
    trained=trained,
    batch_size=program.horizon.stages[-1].batch_size,
    tokens_per_step=inputs.tokens_per_step(program),
    steps=program.horizon.total_steps,
    memory=needed,
    time=times,
    network=network,
    compilation=cost,
  )
