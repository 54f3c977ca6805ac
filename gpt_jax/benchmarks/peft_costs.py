"""What every way of fine-tuning costs beside training all of the model.

A case `peft/LABEL` is the training step of one of `peft_methods.METHODS`, on the batch
and the base of all others. The base is in memory once: each measurement makes its state
from it, takes its steps and lets go of it, so that no two states are there at a time.
"""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax import objectives, peft
from gpt_jax.benchmarks import timing
from gpt_jax.benchmarks.peft_methods import FULL, METHODS
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import setup, trained_sizes
from gpt_jax.program.build import adapter_of, build_program

PREFIX = 'peft/'


@dataclasses.dataclass(frozen=True)
class Costs:
  """What a step of a method holds in memory, and what the method keeps and saves."""

  trained: int  # parameters
  state_gib: float  # of the step's arguments on a device: state and batch
  temporaries_gib: float  # beside them while it runs, by XLA
  optimizer_bytes: int  # over all devices, as the next
  checkpoint_bytes: int  # of one step, before it is compressed


def cases(workload, labels=tuple(METHODS), progress=iter):
  """Returns the case, or the reason that there is none, of each of `labels`.

  `progress`: of the list of labels, to what yields them while they are compiled.
  Raises ConfigError where none of them can be timed.
  """
  base = make_base(workload)
  found = [_case(label, workload, base) for label in progress(list(labels))]
  skipped = [each for each in found if isinstance(each, timing.Skipped)]
  if len(skipped) == len(found):
    raise ConfigError('\n'.join(f'{each.name}: {each.reason}' for each in skipped))
  return found


def by_label(cases, seconds):
  """Returns {label: Costs as a dict, and the `step_ratio` to `full`} for a report.

  `step_ratio` is of the times in the same rounds, median and quartiles; None without
  `full`. Cases that are none of a method are left out.
  """
  full, found = seconds.get(PREFIX + FULL), {}
  for case in cases:
    if isinstance(case.details, Costs):
      ratio = timing.paired_ratio(seconds[case.name], full) if full else None
      found[case.name.removeprefix(PREFIX)] = dataclasses.asdict(case.details) | {
        'step_ratio': None if ratio is None else dataclasses.asdict(ratio)
      }
  return found


def make_program(workload, label):
  """Returns the Program of a method; ConfigError where it does not fit the config."""
  # Of the config as it is resolved: `setup.resolve` would read that of init_from again.
  values = load.to_dict(peft.without_adapter(workload.config))
  config = load.resolve(values, METHODS[label], setup.REGISTRIES, setup.RULES)
  return build_program(
    config,
    vocab=objectives.Vocab(workload.num_ids),
    mesh=workload.program.rules.mesh,
    reference_configs=setup.read_reference_configs(config),
  )


def make_base(workload):
  """Returns {name: array} of the parameters without any method, random ones."""
  program = make_program(workload, FULL)
  shardings = jax.tree.map(lambda leaf: leaf.sharding, program.abstract_state.params)
  init = jax.jit(lambda seed: program.init(seed).params, out_shardings=shardings)
  return dict(pytree.named_leaves(init(program.config.seed)))


def make_states(program, base):
  """Returns a function that takes nothing and returns a new TrainState on `base`.

  No array of `base` is in it, so that it can be donated.
  """
  adapter = adapter_of(program.model)
  storage, added = (adapter.storage, adapter.added) if adapter else (None, {})
  places = jax.tree.map(lambda leaf: leaf.sharding, program.abstract_state)

  def own(state):
    leaves = dict(pytree.named_leaves(state.params))
    return state.replace(params={name: leaves[name] for name in added})

  # The compiler leaves out what nobody reads: the initial parameters of the model.
  init = jax.jit(lambda seed: own(program.init(seed)), out_shardings=own(places))

  def make():
    state = init(program.config.seed)
    leaves = base | state.params
    if storage is not None:
      leaves = dict(pytree.named_leaves(storage.pack(pytree.nested(leaves))))
    params = {
      name: jnp.copy(leaf) if leaf is base.get(name) else leaf
      for name, leaf in leaves.items()
    }
    return state.replace(params=jax.device_put(pytree.nested(params), places.params))

  return make


class Steps:
  """Training steps of one method; its state is there inside `fresh` only."""

  def __init__(self, advance, batch, make_state):
    self._advance, self._batch, self._make_state = advance, batch, make_state
    self._state = None

  @contextlib.contextmanager
  def fresh(self):
    """Makes a state that `run` goes on from, and frees it afterwards."""
    self._state = jax.block_until_ready(self._make_state())
    try:
      yield
    finally:
      self._state = None

  def run(self, times):
    timing.repeat(self._once, times)

  def _once(self):
    self._state, metrics = self._advance(self._state, self._batch)
    return metrics


def _case(label, workload, base):
  name = PREFIX + label
  try:
    program = make_program(workload, label)
    lowered = program.step.lower(program.abstract_state, workload.batch)
    executable, seconds, gib = timing.compiled(lowered)
  except ConfigError as error:
    return timing.Skipped(name, ' '.join(str(error).split()))
  except RuntimeError as error:
    return timing.Skipped(name, timing.out_of_memory(error))
  # Calls of `program.step` take what is compiled; see `training.step`.
  steps = Steps(program.step, workload.batch, make_states(program, base))
  sizes = trained_sizes.of_program(program).now
  state_gib, temporaries_gib = timing.memory_gib(executable)
  return timing.Case(
    name,
    steps.run,
    compile_seconds=seconds,
    memory_gib=gib,
    tokens=workload.tokens,
    around=steps.fresh,
    details=Costs(
      trained=sizes.parameters,
      state_gib=state_gib,
      temporaries_gib=temporaries_gib,
      optimizer_bytes=sizes.optimizer,
      checkpoint_bytes=sizes.checkpoint,
    ),
  )
