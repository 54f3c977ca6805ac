"""Whether the compiled step fits into the memory that is free, and what else would.

XLA knows the temporaries of a step before it runs. They grow with the tokens of a
microbatch; only what is as large as the gradients does not.
"""

import contextlib
import dataclasses
import functools
import math

import jax

from gpt_jax.core import pytree
from gpt_jax.core.errors import UserError
from gpt_jax.optimizers import trainable
from gpt_jax.parallel import free_memory
from gpt_jax.program.device_memory import bytes_by_device

MIN_SEQ_LEN = 16
# GPT-2 124M on a CPU: 78.2 GiB with 96 rows, 11.35 with 12. Two or three gradients that
# stay, and a tenth more, cover that, and chunks of the fused loss.
MARGIN = 1.1


@dataclasses.dataclass(frozen=True)
class StepMemory:
  """Bytes that a step takes beside the state and the batch, on this process's devices
  that share a memory: all CPU devices, or one accelerator.
  """

  needed: int
  gradients: int

  def scaled(self, tokens, accumulates=False):
    """Returns the bytes with `tokens` times the tokens in a microbatch, an estimate.

    `accumulates`: gradients are added up now, and were not before.
    """
    stays = 2 * self.gradients
    grows = max(0, self.needed - stays) * tokens
    return math.ceil(MARGIN * (stays + grows + self.gradients * accumulates))


def of_compiled(executable, program):
  """Returns the StepMemory of a compiled `program.step`."""
  xla = executable.memory_analysis()
  results = max(0, xla.output_size_in_bytes - xla.alias_size_in_bytes)
  trained = trainable.select(program.abstract_state.params, program.frozen)
  gradients = max(bytes_by_device(trained).values(), default=0)
  local = program.batch_sharding.mesh.local_devices
  sharing = len(local) if local[0].platform == 'cpu' else 1
  needed = xla.temp_size_in_bytes + results
  return StepMemory(needed * sharing, gradients * sharing)


def check(program, advance, state, batch, make):
  """Returns a step compiled as its first call would, if it fits into what is free.

  `advance` is `program.step` or `step_with_norms`. Raises ConfigError naming settings
  that would fit; `make(config)`, the Program of another config, is asked only then.
  """
  size = len(jax.tree.leaves(batch)[0])
  with explained(program, size):
    executable = advance.lower(state, batch).compile()
  needed = of_compiled(executable, program)
  free = free_memory.free_on(program.batch_sharding.mesh.local_devices[0])
  if free is None or needed.needed <= free:
    return executable
  found = alternatives(program, needed, size, free)
  found += _with_remat(program, batch, make, free)
  raise free_memory.shortage(_subject(program, size), needed.needed, free, _say(found))


@contextlib.contextmanager
def explained(program, batch_size):
  """Turns a lack of memory while the step compiles or runs into a ConfigError."""
  remedy = functools.partial(_remedy, program, batch_size)
  with free_memory.explained(functools.partial(_subject, program, batch_size), remedy):
    yield


def alternatives(program, memory, batch_size, free):
  """Returns [(setting, bytes)] of smaller microbatches and rows that fit in `free`."""
  config, shards = program.config, program.rules.num_shards('batch')
  parts, seq_len = config.train.grad_accum, config.data.seq_len
  options = [
    (f'train.grad_accum={n}', memory.scaled(parts / n, accumulates=parts == 1))
    for n in range(parts + 1, batch_size + 1)
    if batch_size % (n * shards) == 0
  ], [
    (f'train.batch_size={n}', memory.scaled(n / batch_size))
    for n in range(batch_size - 1, 0, -1)
    if n % (parts * shards) == 0
  ], [
    (f'data.seq_len={n}', memory.scaled(n / seq_len))
    for n in (seq_len >> i for i in range(1, seq_len.bit_length()))
    if n >= MIN_SEQ_LEN
  ]  # fmt: skip
  fitting = (
    next((each for each in option if each[1] <= free), None) for option in options
  )
  return [each for each in fitting if each]


def _with_remat(program, batch, make, free):
  """Returns [(setting, bytes)] of recomputing layers, compiled, where that fits."""
  config = program.config
  if config.model.remat == 'full':
    return []
  model = dataclasses.replace(config.model, remat='full')
  try:
    other = make(dataclasses.replace(config, model=model))
    shapes = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), batch
    )
    executable = other.step.lower(other.abstract_state, shapes).compile()
  except (UserError, MemoryError, jax.errors.JaxRuntimeError):
    return []
  needed = of_compiled(executable, other).needed
  return [('model.remat=full', needed)] if needed <= free else []


def _subject(program, batch_size):
  config = program.config
  return (
    f'the step of train.batch_size={batch_size},'
    f' train.grad_accum={config.train.grad_accum}, data.seq_len={config.data.seq_len},'
    f' model.remat={config.model.remat}, beside'
    f' {free_memory.gib(_state_bytes(program))} of state,'
  )


def _state_bytes(program):
  return max(bytes_by_device(program.abstract_state).values(), default=0)


def _remedy(program, batch_size, asked):
  """Returns what would fit, when the runtime has refused `asked` bytes."""
  local = program.batch_sharding.mesh.local_devices
  free = free_memory.free_on(local[0])
  if asked is None or free is None:
    return _say([])
  trained = trainable.select(program.abstract_state.params, program.frozen)
  memory = StepMemory(asked, pytree.size_bytes(trained))
  return _say(alternatives(program, memory, batch_size, free))


def _say(found):
  if not found:
    return (
      'No smaller batch, microbatch or row is sure to fit: a smaller model, more'
      ' devices (parallel.mesh) or model.remat=full may; gpt-jax plan counts.'
    )
  listed = ', '.join(
    f'--config.{setting} ({free_memory.gib(size)})' for setting, size in found
  )
  return f'By estimate each of these fits: {listed}.'
