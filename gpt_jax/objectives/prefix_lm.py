"""Read a prefix bidirectionally, predict the rest. arXiv:1910.10683, section 3.2."""

import jax
import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.core import registry
from gpt_jax.core.errors import Problem, require_none
from gpt_jax.objectives.causal_lm import input_segments, next_token_weights
from gpt_jax.objectives.example import Example, Objective, split


@registry.entry(problems=lambda config: problems(config.objective))
def make(cfg, *, vocab, seq_len):
  """Returns the prefix objective; loss falls on the tokens after the prefix only.

  The prefix of a row is a share of its real tokens, uniform in [`prefix_min`,
  `prefix_max`]; documents inside it bear no loss, and the mask keeps documents apart.
  Of a batch with a `loss_mask` the prefix is all before a row's first token that bears
  loss. So of several documents in a row the first alone has one: the others are read
  from left to right, and all their targets count.
  Raises ConfigError when `prefix_min` is above `prefix_max`.
  """
  del vocab, seq_len
  require_none(problems(cfg))

  def build(batch, rng):
    inputs_BT, targets_BT = split(batch['tokens'])
    prefix_B = _prefix_lengths(cfg, batch, rng)
    # The last token of the prefix predicts the first one after it.
    is_after_BT = jnp.arange(inputs_BT.shape[1])[None] >= prefix_B[:, None] - 1
    positions_BN = batch.get('positions')
    return Example(
      inputs_BT=inputs_BT,
      targets_BT=targets_BT,
      weights_BT=jnp.where(is_after_BT, next_token_weights(batch), 0.0),
      mask=masks.prefix(prefix_B, input_segments(batch)),
      positions_BT=None if positions_BN is None else positions_BN[:, :-1],
    )

  return Objective(build, visibility='prefix')


def problems(cfg):
  """Returns the Problems of an ObjectiveConfig's bounds of the prefix."""
  if cfg.prefix_min <= cfg.prefix_max:
    return []
  text = f'={cfg.prefix_min}: above objective.prefix_max={cfg.prefix_max}; swap them'
  return [Problem('objective.prefix_min', text)]


def _prefix_lengths(cfg, batch, rng):
  if 'loss_mask' in batch:  # 0 where none bears loss: there is nothing to predict
    return jnp.argmax(batch['loss_mask'] > 0, axis=1).astype(jnp.int32)
  batch_size, num_tokens = batch['tokens'].shape
  if 'segments' in batch:
    length_B = (batch['segments'][:, :-1] != 0).sum(axis=1)
  else:
    length_B = jnp.full((batch_size,), num_tokens - 1)
  share_B = jax.random.uniform(
    rng, (batch_size,), minval=cfg.prefix_min, maxval=cfg.prefix_max
  )
  return jnp.round(share_B * length_B).astype(jnp.int32)
