"""A forward pass of a training batch that keeps statistics of its intermediates."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.matmul import einsum
from gpt_jax.model import statistics
from gpt_jax.model.gpt import GPT
from gpt_jax.model.output_layer import scale_and_cap_logits
from gpt_jax.objectives import Example, Objective
from gpt_jax.program.step import random_keys

PART_BYTES = 2**29
"""Float32 logits, or scores of a layer, that a device holds at once, at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
  """`measurement(state, batch) -> sums` of what `logging.statistics` names.

  The batch is that of the last step; `state` has its update already. There is no
  dropout. `finished` makes numbers of the sums.
  """

  watched: statistics.Watched
  model: GPT
  objective: Objective
  grad_accum: int
  num_ids: int  # real ids; those from there on pad the vocabulary

  def __call__(self, state, batch):
    objective_rng, _ = random_keys(state.seed, jnp.maximum(state.step - 1, 0))
    example = self.objective(batch, objective_rng)
    count = self._num_parts(*example.inputs_BT.shape)
    parts = jax.tree.map(functools.partial(self._split, count), example)
    of_part = functools.partial(self._of_part, state.params)
    sums = jax.lax.map(of_part, parts)
    combine = {name: one.combine for name, one in self.watched}
    sown, logits = sums

    def combined(path, leaf):
      *_, name, _ = path
      return combine[name.key](leaf)

    return jax.tree_util.tree_map_with_path(combined, (sown, logits))

  def finished(self, sums):
    """Returns `{'statistics/NAME/...': float}` of fetched sums."""
    pattern = self.model.cfg.layer_pattern
    sown, logits = sums
    return statistics.finished(self.watched, sown, logits, len(pattern))

  def _of_part(self, params, example):
    """Returns (what the model has sown, {name: sums} of the logits)."""
    if (rules := self.model.rules) is not None:
      example = jax.tree.map(
        lambda leaf: rules.constrain(leaf, 'batch', *[None] * (leaf.ndim - 1)), example
      )
    model = self.model.clone(watched=self.watched)
    (x_BTD, head_VD, _), variables = model.apply(
      {'params': params},
      example.inputs_BT,
      example.mask,
      example.positions_BT,
      mutable=[statistics.COLLECTION],
      method='hidden',
    )
    sown: Any = variables.get(statistics.COLLECTION, {})
    readers = {
      name: one.reduce['logits'] for name, one in self.watched if 'logits' in one.reduce
    }
    if not readers or head_VD is None:
      return sown, {}
    raw_BTV = einsum('BTD,VD->BTV', x_BTD, head_VD.astype(x_BTD.dtype), jnp.float32)
    if model.cfg.head_bias:
      raw_BTV += params['head_bias'].astype(jnp.float32)
    logits_BTV = scale_and_cap_logits(model.cfg, raw_BTV)[..., : self.num_ids]
    weights_BT = statistics.weights(example.mask, example.inputs_BT.shape)
    view = statistics.Logits(logits_BTV, weights_BT)
    return sown, {name: reduce(view) for name, reduce in readers.items()}

  def _num_parts(self, rows, time):
    """Returns into how many parts the batch is split, each on all devices."""
    cfg, rules = self.model.cfg, self.model.rules
    rows_here = rows // (1 if rules is None else rules.num_shards('batch'))
    row_bytes = 4 * time * max(cfg.vocab_size, cfg.num_heads * min(time, 512))
    fitting = max(1, PART_BYTES // row_bytes)
    return next(
      n
      for n in range(min(self.grad_accum, rows_here), rows_here + 1)
      if rows_here % n == 0 and (rows_here // n <= fitting or n == rows_here)
    )

  @staticmethod
  def _split(count, leaf):
    # As in step.accumulate: each device keeps its own rows.
    parts = leaf.reshape(leaf.shape[0] // count, count, *leaf.shape[1:])
    return parts.swapaxes(0, 1)


def make_measurement(config, model, objective, num_ids):
  """Returns the Measurement that `logging.statistics` asks for, None without.

  Raises ConfigError where the objective's examples are no tokens that a model reads, or
  a statistic reads logits that a model with a task head does not have.
  """
  watched = statistics.choose(config.logging.statistics)
  if not watched:
    return None
  row = jax.ShapeDtypeStruct((2, config.data.seq_len + 1), jnp.int32)
  rows = dict.fromkeys(('tokens', 'labels', 'read'), row)
  example = jax.eval_shape(objective, rows, jax.random.key(0))
  field = f'logging.statistics={config.logging.statistics}'
  if not isinstance(example, Example):
    raise ConfigError(
      f'{field}: objective.name={config.objective.name!r} makes examples of a class of'
      f' its own, {type(example).__name__}; statistics need an Example. Set ().'
    )
  for name, one in watched:
    if model.task_head is not None and set(one.reduce) == {'logits'}:
      raise ConfigError(
        f'{field}: {name} is of logits over tokens, and objective.name='
        f'{config.objective.name!r} has a task head instead; leave it out.'
      )
  return Measurement(watched, model, objective, config.train.grad_accum, num_ids)
