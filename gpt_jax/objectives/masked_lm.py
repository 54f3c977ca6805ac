"""Restore tokens hidden at random, seeing both sides. BERT, arXiv:1810.04805, 3.1."""

import jax
import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, Problem, require_none
from gpt_jax.core.sections import section
from gpt_jax.objectives.causal_lm import input_segments
from gpt_jax.objectives.example import Example, Objective


@section
class MaskedLM:
  """`objective.options` of masked_lm."""

  # The tokenizer's own, such as [MASK] of BERT; '': an id above the tokenizer's.
  mask_token: str = ''


@registry.entry(options=MaskedLM, problems=lambda config: problems(config.objective))
def make(cfg, *, vocab, seq_len):
  """Returns the masked objective; loss falls on the selected tokens only.

  Each token is selected with probability `mask_rate`, padding, the end token and those
  whose `loss_mask` is 0 never, and becomes [MASK] (id `vocab.size`), a token drawn from
  [0, vocab.size), or stays, by `mask_split`. With `options.mask_token` that token takes
  the place of [MASK], and no special token of the tokenizer is ever selected. Raises
  ConfigError unless the split is three shares that sum to 1, and for a token that the
  tokenizer does not have.
  """
  del seq_len
  mask_id, spared_ids = _special_ids(cfg.options.mask_token, vocab)
  split = cfg.mask_split
  require_none(problems(cfg))
  if not cfg.mask_rate:
    raise ConfigError('objective.mask_rate=0.0: nothing to predict; try 0.15.')

  def build(batch, rng):
    tokens_BT = batch['tokens'][:, :-1]  # the last one is there for shifted targets
    segments_BT = input_segments(batch)
    select_rng, split_rng, token_rng = jax.random.split(rng, 3)
    is_selected_BT = jax.random.bernoulli(select_rng, cfg.mask_rate, tokens_BT.shape)
    if segments_BT is not None:
      is_selected_BT &= segments_BT != 0
    if 'loss_mask' in batch:
      is_selected_BT &= batch['loss_mask'][:, :-1] != 0
    for token_id in spared_ids:
      is_selected_BT &= tokens_BT != token_id
    draw_BT = jax.random.uniform(split_rng, tokens_BT.shape)
    random_BT = jax.random.randint(
      token_rng, tokens_BT.shape, 0, vocab.size, tokens_BT.dtype
    )
    shown_BT = jnp.where(draw_BT < split[0] + split[1], random_BT, tokens_BT)
    shown_BT = jnp.where(draw_BT < split[0], mask_id, shown_BT)
    positions_BN = batch.get('positions')
    return Example(
      inputs_BT=jnp.where(is_selected_BT, shown_BT, tokens_BT),
      targets_BT=tokens_BT,
      weights_BT=is_selected_BT.astype(jnp.float32),
      mask=masks.bidirectional(segments_BT),
      positions_BT=None if positions_BN is None else positions_BN[:, :-1],
    )

  own_tokens = 0 if cfg.options.mask_token else 1
  return Objective(build, extra_tokens=own_tokens, visibility='bidirectional')


def _special_ids(mask_token, vocab):
  """Returns (the id that hides a token, ids that are never hidden)."""
  ends = () if vocab.eos_id is None else (vocab.eos_id,)
  if not mask_token:
    return vocab.size, ends
  if vocab.special_tokens is None:  # before there is a tokenizer: any id has the shape
    return 0, ends
  if mask_token not in vocab.special_tokens:
    raise ConfigError(
      f'objective.options.mask_token={mask_token!r}: the tokenizer has the special'
      f' tokens {", ".join(sorted(vocab.special_tokens)) or "(none)"}; give one of'
      ' them, or "" for an id of its own.'
    )
  ids = sorted({*ends, *vocab.special_tokens.values()})
  return vocab.special_tokens[mask_token], tuple(ids)


def problems(cfg):
  """Returns the Problems of an ObjectiveConfig's `mask_split`."""
  split = cfg.mask_split
  if len(split) == 3 and min(split) >= 0 and abs(sum(split) - 1) <= 1e-6:
    return []
  text = f'={split}: expected three shares ([MASK], random, kept) that sum to 1'
  return [Problem('objective.mask_split', f'{text}, such as (0.8, 0.1, 0.1)')]
