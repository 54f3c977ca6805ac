"""Guides: what follows a text on the host as it is written, and may steer or end it.

Stop strings, banned strings and grammars are guides. A Request has their makers, since
a guide belongs to one text.
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core.types import Array

ALL = np.uint32(0xFFFFFFFF)


class Guide(Protocol):
  """Follows one text."""

  masks: bool
  """Whether `allowed` has to be asked before each token; decoding then returns to the
  host after each one, for all rows of the batch."""

  def allowed(self) -> np.ndarray:
    """Returns uint32 [words(V)]: bit `i % 32` of word `i // 32` is set where id i may
    come next. Without any such id the text ends."""
    ...

  def take(self, token_id: int) -> bool:
    """Returns whether the text ends with this token, which stays part of it."""
    ...


class GuideMaker(Protocol):
  """Hashable: equal ones make guides that act alike."""

  def start(self, prompt_ids: np.ndarray) -> Guide: ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Guidance:
  """What the guides of all rows say before the next tokens; a pytree."""

  allowed_BW: Array
  is_ended_B: Array

  @classmethod
  def none(cls, rows, vocab_size):
    """Returns that of rows without guides."""
    return cls(np.full((rows, words(vocab_size)), ALL), np.zeros(rows, bool))


def words(vocab_size):
  """Returns how many words of 32 bits hold a bit for each id."""
  return -(-vocab_size // 32)


def packed(allowed_V):
  """Returns bool [V] as `Guide.allowed` has it."""
  padded = np.zeros(32 * words(len(allowed_V)), bool)
  padded[: len(allowed_V)] = allowed_V
  return np.packbits(padded, bitorder='little').view(np.uint32)


def mask(logits_BV, allowed_BW):
  """Returns `logits_BV` with -inf for ids that are not allowed."""

  def apply(logits_BV, allowed_BW):
    bits_BW32 = (allowed_BW[..., None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    is_allowed_BV = bits_BW32.reshape(len(logits_BV), -1)[:, : logits_BV.shape[1]] == 1
    return jnp.where(is_allowed_BV, logits_BV, -jnp.inf)

  return jax.lax.cond(
    jnp.any(allowed_BW != ALL), apply, lambda logits_BV, _: logits_BV, logits_BV,
    allowed_BW,
  )  # fmt: skip


class Guides:
  """The guides of one text, as one."""

  def __init__(self, makers, prompt_ids):
    self._guides: list[Any] = [maker.start(prompt_ids) for maker in makers]
    self.masks = any(guide.masks for guide in self._guides)

  def allowed(self):
    return np.bitwise_and.reduce([g.allowed() for g in self._guides if g.masks])

  def take(self, token_id):
    # All of them see the token, also after one has ended the text.
    return any([guide.take(token_id) for guide in self._guides])


def together(writings, vocab_size, pad_rows):
  """Returns (Guidance of Writings, whether it masks and so holds for one token only).

  `pad_rows(array, value)` adds the rows that have none.
  """
  masks_B = [writing.masks for writing in writings]
  everything_W = np.full(words(vocab_size), ALL)

  def allowed(writing):
    # Over the tokenizer's ids, which the embedding may have more of.
    allowed_W = writing.allowed()
    return np.pad(allowed_W, (0, len(everything_W) - len(allowed_W)))

  allowed_BW = np.stack(
    [
      allowed(writing) if masks else everything_W
      for writing, masks in zip(writings, masks_B, strict=True)
    ]
  )
  is_ended_B = np.array([writing.finish is not None for writing in writings])
  guidance = Guidance(pad_rows(allowed_BW, int(ALL)), pad_rows(is_ended_B, True))
  return guidance, any(masks_B)
