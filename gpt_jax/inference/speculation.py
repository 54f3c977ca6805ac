"""Several tokens a pass of the model: drafts are made cheaply and checked together.

Pure functions, compiled by `speculative_engine.py`. Greedy text is that of plain
decoding; drawn text has its distribution (`acceptance.py`).
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core.types import Array, PyTree
from gpt_jax.inference import acceptance, penalties, token_log_probs
from gpt_jax.inference.decode import DecodeState
from gpt_jax.inference.ngram_draft import NgramDraft
from gpt_jax.inference.sampling import Work, distribution, real_logits
from gpt_jax.inference.token_log_probs import LogProbs
from gpt_jax.parallel.sharding import constrain

ROUNDS = 8
"""Passes of the model that one call of `speculate` can make."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SpeculativeState:
  """Texts being written, and what drafts are made of; a pytree."""

  writing: DecodeState
  text_BN: Array
  """Ids of prompt and text, and places for a round more; the newest one is at place
  `length_B` of the cache, which has not read it."""
  draft_cache: PyTree
  """Of a draft model of its own; None: there is none."""
  drafted_B: Array
  """Tokens that were checked so far."""
  accepted_B: Array
  rounds_B: Array
  """Passes of the model so far."""

  @classmethod
  def of(cls, writing, tokens_BT, draft_cache, extra):
    """Returns that of a DecodeState which has read the prompts `tokens_BT`.

    `extra`: for how many tokens of text and drafts.
    """
    text_BN = jnp.pad(tokens_BT, ((0, 0), (0, extra)))
    # Three arrays, not one: the state is donated.
    counts = (jnp.zeros(len(tokens_BT), jnp.int32) for _ in range(3))
    return cls(writing, text_BN, draft_cache, *counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Drafted:
  """New tokens of some rounds; of each row the first `count_B` count. A pytree."""

  ids_BC: Array
  log_probs: LogProbs
  count_B: Array

  @classmethod
  def none(cls, rows, size, vocab_size):
    return cls(
      jnp.zeros((rows, size), jnp.int32),
      LogProbs.zeros(rows, size, vocab_size=vocab_size),
      jnp.zeros(rows, jnp.int32),
    )

  def add(self, token_BT, log_probs, count_B):
    """Returns this with the tokens of a round behind, of which `count_B` count."""

    def put(old_BC, new_BT):
      def row(old_C, new_T, start):
        place = (start, *[0] * (old_C.ndim - 1))
        return jax.lax.dynamic_update_slice(old_C, new_T, place)

      return jax.vmap(row)(old_BC, new_BT, self.count_B)

    return Drafted(
      put(self.ids_BC, token_BT),
      jax.tree.map(put, self.log_probs, log_probs),
      self.count_B + count_B,
    )


def speculate(
  params, draft_params, state, limit, is_ended_B, *, model, drafter, num_ids
):
  """Returns (SpeculativeState, Drafted, have all rows ended) after `limit` rounds.

  Args:
    limit: at most ROUNDS; each is one pass of `model` over the drafts of all rows.
    is_ended_B: rows that the host has ended.
    num_ids: ids from here on are never written.
  """
  work = Work.of(state.writing.settings.sampling, model.cfg.vocab_size)

  def is_unfinished(carry):
    i, state, _ = carry
    return (i < limit) & ~jnp.all(state.writing.is_done_B)

  def step(carry):
    i, state, drafted = carry
    drafts = _draft(drafter, draft_params, params, state, work)
    state, *new = _read_and_check(params, *drafts, model, num_ids, work)
    return i + 1, state, drafted.add(*new)

  writing = state.writing
  writing = dataclasses.replace(writing, is_done_B=writing.is_done_B | is_ended_B)
  state = dataclasses.replace(state, writing=writing)
  size = ROUNDS * (drafter.num_tokens + 1)
  nothing = Drafted.none(len(is_ended_B), size, model.cfg.vocab_size)
  _, state, drafted = jax.lax.while_loop(is_unfinished, step, (0, state, nothing))
  return state, drafted, jnp.all(state.writing.is_done_B)


def _read_and_check(params, draft_BK, share_BKV, state, model, num_ids, work):
  """Returns (state, tokens [B, K + 1], their LogProbs, how many are new [B])."""
  before, K = state.writing, draft_BK.shape[1]
  tokens_BT = jnp.concatenate([before.token_B[:, None], draft_BK], axis=1)
  logits_BTV, cache = model.apply({'params': params}, tokens_BT, cache=before.cache)
  # Choosing looks at all of a row: its logits come together first.
  logits_BTV = constrain(model.rules, logits_BTV, 'batch', None, None)
  logits_BTV = real_logits(logits_BTV, num_ids)
  # The last place has no draft: its token is drawn as if there had been none.
  draft_BT = jnp.pad(draft_BK, ((0, 0), (0, 1)), constant_values=-1)
  share_BTV = jnp.pad(share_BKV, ((0, 0), (0, 1), (0, 0)))
  (writing, _), found = jax.lax.scan(
    lambda carry, place: _check(carry, place, work),
    (before, jnp.ones_like(before.is_done_B)),
    _time_first((logits_BTV, draft_BT, share_BTV)),
  )
  token_BT, log_probs, is_new_BT, is_kept_BT = _time_first(found)
  last_B, count_B = before.cache['length_B'], jnp.sum(is_new_BT, axis=1)
  # Behind that, the cache holds rejected drafts, which the next round overwrites.
  cache = cache | {'length_B': last_B + count_B}
  state = dataclasses.replace(
    state,
    writing=dataclasses.replace(writing, cache=cache),
    text_BN=_append(state.text_BN, last_B, token_BT),
    drafted_B=state.drafted_B + K * ~before.is_done_B,
    accepted_B=state.accepted_B + jnp.sum(is_kept_BT, axis=1),
    rounds_B=state.rounds_B + ~before.is_done_B,
  )
  return state, token_BT, log_probs, count_B


def _time_first(tree):
  return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), tree)


def _draft(drafter, draft_params, params, state, work):
  """Returns (drafts [B, K], their probabilities [B, K, V], state)."""
  writing = state.writing
  last_B = writing.cache['length_B']
  if isinstance(drafter, NgramDraft):
    draft_BK = drafter(state.text_BN, last_B)
    num_ids = writing.history.count_BV.shape[1]
    return draft_BK, jax.nn.one_hot(draft_BK, num_ids), state
  if not drafter.shares_cache:
    draft_BK, share_BKV, cache = drafter(
      draft_params, state.draft_cache, state.text_BN, last_B, writing, work
    )
    return draft_BK, share_BKV, dataclasses.replace(state, draft_cache=cache)
  count = drafter.model.cfg.num_layers // len(drafter.model.cfg.layer_pattern)
  layers = writing.cache['layers']
  first = {'layers': layers[:count], 'length_B': last_B}
  draft_BK, share_BKV, first = drafter(
    params, first, state.text_BN, last_B, writing, work
  )
  layers = [*first['layers'], *layers[count:]]
  writing = dataclasses.replace(writing, cache=writing.cache | {'layers': layers})
  return draft_BK, share_BKV, dataclasses.replace(state, writing=writing)


def _check(carry, place, work):
  """Returns (carry, (tokens, LogProbs, are they new, are they drafts)) of a place.

  The carry holds the DecodeState and whether each row kept all drafts up to here.
  """
  writing, is_open_B = carry
  logits_BV, draft_B, share_BV = place
  settings = writing.settings
  rows = settings.sampling
  asked_BV = penalties.adjust(logits_BV, rows, writing.history)
  target_BV = distribution(asked_BV, rows, work)
  token_B, is_kept_B = acceptance.choose(
    target_BV, draft_B, share_BV, writing.rng_B, writing.count_B
  )
  is_new_B = is_open_B & ~writing.is_done_B
  count_B = writing.count_B + is_new_B
  is_stop_B = jnp.any(token_B[:, None] == settings.stop_BI, axis=1)
  is_end_B = is_stop_B | (count_B >= settings.max_new_tokens_B)
  # Ids past the vocabulary are not counted.
  counted_B = jnp.where(is_new_B, token_B, logits_BV.shape[1])
  log_probs = jax.lax.cond(
    jnp.any(settings.has_log_probs_B),
    token_log_probs.of,
    lambda logits_BV, _: LogProbs.zeros(len(logits_BV), vocab_size=logits_BV.shape[1]),
    logits_BV,
    token_B,
  )
  writing = dataclasses.replace(
    writing,
    token_B=jnp.where(is_new_B, token_B, writing.token_B),
    is_done_B=writing.is_done_B | (is_new_B & is_end_B),
    count_B=count_B,
    history=writing.history.add(counted_B),
  )
  found = token_B, log_probs, is_new_B, is_new_B & is_kept_B
  return (writing, is_open_B & is_kept_B), found


def _append(text_BN, last_B, token_BT):
  """Returns texts with tokens behind their newest one; those too many come later."""

  def row(text_N, last, token_T):
    return jax.lax.dynamic_update_slice(text_N, token_T, (last + 1,))

  return jax.vmap(row)(text_BN, last_B, token_BT)
