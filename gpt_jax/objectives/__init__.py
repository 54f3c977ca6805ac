"""Training objectives: what to hide, what to predict, what may be seen.

Read `example.py` first, then `causal_lm.py`. `losses` scores predictions, `fused_loss`
without all logits at once. A new objective is a file with `make`, a line in OBJECTIVES.
"""

import jax
import jax.numpy as jnp

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives import (
  causal_lm,
  class_labels,
  layer_skip,
  masked_lm,
  prefix_lm,
  regression,
  reward,
  span_corruption,
  span_labels,
  token_labels,
)
from gpt_jax.objectives.example import (
  VISIBILITIES,
  Example,
  Exits,
  Objective,
  Vocab,
)

OBJECTIVES = {
  'causal_lm': causal_lm.make,
  'prefix_lm': prefix_lm.make,
  'masked_lm': masked_lm.make,
  'span_corruption': span_corruption.make,
  'class_labels': class_labels.make,
  'token_labels': token_labels.make,
  'span_labels': span_labels.make,
  'regression': regression.make,
  'reward': reward.make,
  'layer_skip': layer_skip.make,
}
"""Each entry: `make(cfg, *, vocab, seq_len) -> Objective`."""


def make_objective(cfg, *, vocab, seq_len):
  """Returns the `Objective` of an ObjectiveConfig on sequences of `seq_len` tokens.

  Raises ConfigError where its mask shows something else than its `visibility` says.
  """
  objective = _entry(cfg)(cfg, vocab=vocab, seq_len=seq_len)
  array = jax.ShapeDtypeStruct((2, seq_len + 1), jnp.int32)
  row = dict.fromkeys(('tokens', 'labels', *objective.fields), array)
  mask = getattr(jax.eval_shape(objective, row, jax.random.key(0)), 'mask', None)
  if mask is None:  # not an Example
    return objective
  found = 'bidirectional'
  if mask.causal:
    found = 'causal' if mask.prefix_B is None else 'prefix'
  if objective.visibility != found:
    raise ConfigError(
      f'objective.name={cfg.name!r}: its mask is {found}, but it declares visibility='
      f'{objective.visibility!r}, by which models are decoded; return'
      f' Objective(..., visibility={found!r}).'
    )
  return objective


def describe(config):
  """Returns the Objective of a Config to read its fields, not to build examples.

  It needs no tokenizer and starts no device: config validation comes before both.
  """
  cfg = config.objective
  return _entry(cfg)(cfg, vocab=Vocab(size=1), seq_len=config.data.seq_len)


def _entry(cfg):
  return registry.lookup(OBJECTIVES, cfg.name, 'objective.name')


__all__ = [
  'OBJECTIVES', 'VISIBILITIES', 'Example', 'Exits', 'Objective', 'Vocab', 'describe',
  'make_objective',
]  # fmt: skip
