"""What trains of a program, in numbers and bytes, and with all of it trained."""

import dataclasses

import jax

from gpt_jax import optimizers
from gpt_jax.core import pytree
from gpt_jax.program.build import adapter_of

MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Bytes over all devices, but for the first."""

  parameters: int  # how many train
  gradients: int
  optimizer: int
  checkpoint: int  # of one step, before it is compressed


@dataclasses.dataclass(frozen=True)
class TrainedSizes:
  now: Sizes
  whole: Sizes  # of the model without adapter, if all its parameters trained
  parameters: int  # of the model, those that are added included
  frozen: int  # bytes
  frozen_in_full: int  # bytes, with peft.base_storage='as_is'


def of_program(program):
  """Returns the TrainedSizes of a Program; nothing is allocated."""
  state, adapter = program.abstract_state, adapter_of(program.model)
  leaves = dict(pytree.named_leaves(state.params))
  trained = {name: leaf for name, leaf in leaves.items() if name not in program.frozen}
  frozen = {name: leaf for name, leaf in leaves.items() if name in program.frozen}
  added = adapter.added if adapter else {}
  in_full = dict(pytree.named_leaves(program.parameters))
  plain = {name: leaf for name, leaf in in_full.items() if name not in added}
  saved = leaves
  if adapter:  # its base is read from where it came from (`base.py`)
    saved = {n: leaf for n, leaf in leaves.items() if n in trained or n in added}
  kept = state.opt_state, state.ema, state.loss_history, state.start
  return TrainedSizes(
    now=Sizes(
      pytree.count(trained),
      pytree.size_bytes(trained),
      pytree.size_bytes(state.opt_state),
      pytree.size_bytes((saved, kept)),
    ),
    whole=_whole(program, plain),
    parameters=pytree.count(in_full),
    frozen=pytree.size_bytes(frozen),
    frozen_in_full=pytree.size_bytes(
      [leaf for name, leaf in in_full.items() if name in program.frozen]
    ),
  )


def _whole(program, plain):
  """Returns the Sizes with all of `plain`, ShapeDtypeStructs by name, trained."""
  config, state = program.config.optimizer, program.abstract_state
  optimizer = optimizers.make_optimizer(config, lambda step: 1.0, state.params)
  opt_state = jax.eval_shape(optimizer.init, pytree.nested(plain))
  size, count = pytree.size_bytes(plain), pytree.count(plain)
  kept = pytree.size_bytes((opt_state, state.loss_history))
  if state.ema is not None:
    kept += 4 * count  # float32, whatever the parameters are
  if state.start is not None:
    kept += size
  return Sizes(count, size, pytree.size_bytes(opt_state), size + kept)


def describe(program, sizes=None):
  """Returns in words what of `program` trains, and what the rest would add."""
  sizes = of_program(program) if sizes is None else sizes
  now, whole, peft = sizes.now, sizes.whole, program.config.peft
  why = (
    f'peft.name={peft.name!r}'
    if peft.name
    else f'optimizer.groups freeze {len(program.frozen)} arrays'
  )
  text = (
    f'trains {now.parameters:,} of {sizes.parameters:,} parameters'
    f' ({now.parameters / sizes.parameters:.3%}; {why}): optimizer state'
    f' {now.optimizer / MIB:,.3g} MiB, a checkpoint {now.checkpoint / MIB:,.3g} MiB;'
    f' with all of them trained {whole.optimizer / MIB:,.4g} and'
    f' {whole.checkpoint / MIB:,.4g} MiB'
  )
  if sizes.frozen != sizes.frozen_in_full:
    text += (
      f'; frozen in memory {sizes.frozen / MIB:,.4g} MiB'
      f' (peft.base_storage={peft.base_storage!r}; as_is'
      f' {sizes.frozen_in_full / MIB:,.4g})'
    )
  return text
