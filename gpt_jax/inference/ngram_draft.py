"""Drafts from the text itself: what followed its last tokens when they came before.

Prompt look-up (Saxena, 2023; arXiv:2304.04487 copies from references alike).
"""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class NgramDraft:
  """Looks up the last `longest` tokens of a text, or as many of them as occurred."""

  num_tokens: int
  longest: int = 3

  def __call__(self, text_BN, last_B):
    """Returns int32 [B, K]; `last_B` is the place of each text's newest token.

    Of several earlier occurrences the longest counts, then the latest. A draft that
    reaches the end of the text repeats what it copied. Without any occurrence it is the
    newest token again and again.
    """
    place_N = jnp.arange(text_BN.shape[1])
    # How many tokens up to each place equal those up to the newest one.
    length_BN = jnp.zeros(text_BN.shape, jnp.int32)
    is_same_BN = place_N < last_B[:, None]
    for back in range(self.longest):
      newest_B1 = jnp.take_along_axis(
        text_BN, jnp.maximum(last_B - back, 0)[:, None], axis=1
      )
      before_BN = jnp.pad(text_BN, ((0, 0), (back, 0)))[:, : text_BN.shape[1]]
      is_same_BN &= (before_BN == newest_B1) & (place_N >= back)
      length_BN += is_same_BN
    found_B = jnp.argmax(length_BN * text_BN.shape[1] + place_N * (length_BN > 0), -1)
    is_found_B = jnp.max(length_BN, axis=1) > 0
    start_B = jnp.where(is_found_B, found_B, last_B - 1)
    period_B1 = (last_B - start_B)[:, None]
    offset_BK = jnp.arange(self.num_tokens) % period_B1
    place_BK = jnp.maximum(start_B[:, None] + 1 + offset_BK, 0)
    return jnp.take_along_axis(text_BN, place_BK, axis=1)
