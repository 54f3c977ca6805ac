"""Drafts by a cheaper model, token by token: another one, or the first layers."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.inference import acceptance
from gpt_jax.inference.sampling import distribution, real_logits
from gpt_jax.model.gpt import GPT
from gpt_jax.parallel.sharding import constrain


@dataclasses.dataclass(frozen=True, eq=False)
class ModelDraft:
  """A model that writes `num_tokens` ahead of the one that checks them.

  It draws by the settings of the row, without penalties, so that what it drafts is
  likely to be what the other one would draw.
  """

  model: GPT
  num_tokens: int
  num_ids: int
  """Ids from here on are not drafted."""
  shares_cache: bool = False
  """Whether its layers are the first ones of the other model, and so is its cache."""

  def __call__(self, params, cache, text_BN, last_B, row_state, work):
    """Returns (drafts int32 [B, K], their probabilities [B, K, V], cache).

    Args:
      cache: its own has read all but the last two tokens, or more of them; a shared one
        all but the last.
      text_BN: ids so far; `last_B` is the place of each text's newest one.
      row_state: the DecodeState of the other model.
    """
    rows = row_state.settings.sampling

    def propose(logits_BV, i):
      logits_BV = constrain(self.model.rules, logits_BV, 'batch', None)
      logits_BV = real_logits(logits_BV, self.num_ids)
      share_BV = distribution(logits_BV, rows, work)
      count_B = row_state.count_B + i
      key_B = acceptance.keys(row_state.rng_B, count_B, acceptance.DRAFTING)
      return acceptance.draw(share_BV, key_B), share_BV

    def step(carry, i):
      cache, token_B = carry
      logits_B1V, cache = self._apply(params, token_B[:, None], cache)
      token_B, share_BV = propose(logits_B1V[:, 0], i)
      return (cache, token_B), (token_B, share_BV)

    logits_BV, cache = self._first(params, cache, text_BN, last_B)
    first_B, share_BV = propose(logits_BV, 0)
    later = jnp.arange(1, self.num_tokens)
    (cache, _), (draft_KB, share_KBV) = jax.lax.scan(step, (cache, first_B), later)
    draft_BK = jnp.concatenate([first_B[None], draft_KB]).T
    share_BKV = jnp.concatenate([share_BV[None], share_KBV]).swapaxes(0, 1)
    # Two embeddings may be padded differently behind the same ids.
    vocab_size = row_state.history.count_BV.shape[1]
    missing = max(0, vocab_size - share_BKV.shape[2])
    share_BKV = jnp.pad(share_BKV, ((0, 0), (0, 0), (0, missing)))
    return draft_BK, share_BKV[..., :vocab_size], cache

  def _first(self, params, cache, text_BN, last_B):
    """Returns (logits after the newest token, cache)."""
    newest_B1 = jnp.take_along_axis(text_BN, last_B[:, None], axis=1)
    if self.shares_cache:
      cache = cache | {'length_B': last_B}
      logits_B1V, cache = self._apply(params, newest_B1, cache)
      return logits_B1V[:, 0], cache
    # After a round that kept every draft, its last one has not been read yet. Reading
    # two tokens is not dearer than one: the weights are read once.
    start_B = jnp.maximum(last_B - 1, 0)
    place_B2 = start_B[:, None] + jnp.arange(2)
    token_B2 = jnp.take_along_axis(text_BN, place_B2, axis=1)
    logits_B2V, cache = self._apply(params, token_B2, cache | {'length_B': start_B})
    index_B11 = (last_B - start_B)[:, None, None]
    logits_B1V = jnp.take_along_axis(logits_B2V, index_B11, axis=1)
    return logits_B1V[:, 0], cache | {'length_B': last_B + 1}

  def _apply(self, params, token_BT, cache) -> Any:
    return self.model.apply({'params': params}, token_BT, cache=cache)
