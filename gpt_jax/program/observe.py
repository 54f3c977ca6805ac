"""Sums of what an interceptor sows, over batches: for adapters that begin with data."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import statistics
from gpt_jax.model.linear_inputs import OBSERVED
from gpt_jax.objectives import Example
from gpt_jax.program.batches import put_batch
from gpt_jax.program.step import random_keys


def make_observe(program, params, open_batches):
  """Returns `observe(make_intercept, count) -> {name: array}`, as `Adapter.begin` has.

  It reads the first `count` batches, without dropout; `open_batches` returns a context
  with an iterator of this process's rows, which is entered then. `make_intercept` takes
  weights_BT, 0 for padding, and returns what `flax.linen.intercept_methods` takes;
  names are those of modules and of what they sow into `linear_inputs.OBSERVED`. The
  arrays are whole on all devices. ConfigError where the objective makes no Example.
  """
  replicated = program.rules.sharding()

  def observe(make_intercept, count):
    def sown(params, batch, index):
      rng, _ = random_keys(program.config.seed, index)
      example = _require_example(program, program.objective(batch, rng))
      weights_BT = statistics.weights(example.mask, example.inputs_BT.shape)
      inputs_BT, mask, positions_BT, token_types_BT = example.inputs
      with nn.intercept_methods(make_intercept(weights_BT)):
        _, variables = program.model.apply(
          {'params': params}, inputs_BT, mask, positions_BT, None, token_types_BT,
          mutable=[OBSERVED], method='hidden',
        )  # fmt: skip
      return variables[OBSERVED]

    compiled, total = jax.jit(sown, out_shardings=replicated), None
    with open_batches() as batches:
      for index, rows in zip(range(count), batches, strict=False):
        part = compiled(params, put_batch(program, rows), index)
        total = part if total is None else jax.tree.map(jnp.add, total, part)
    return dict(pytree.named_leaves(total))

  return observe


def _require_example(program, example):
  if isinstance(example, Example):
    return example
  raise ConfigError(
    'peft.options.init="eva": reads what a model does with an Example, and'
    f' objective.name={program.config.objective.name!r} makes examples of a class of'
    f' its own, {type(example).__name__}; set peft.options.init="random".'
  )
