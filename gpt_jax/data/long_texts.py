"""Tokens of a text that comes in pieces, the same as those of the whole text.

Each piece is tokenized with some text around it. Where two pieces meet, both have
tokenized the same text, from different starts and to different ends; where they agree
token by token, neither start nor end matters any more, and one continues the other.
This holds for any tokenizer whose tokens depend on text nearby: for byte-level BPE with
any pattern, and for those that put a space in front of what they are given. Pieces that
do not agree (a million letters without a token's end, say) are tokenized as one. In
Unigram models a run of one letter has many divisions that are equally likely, and
rounding decides: there another one of them may come out than from the whole text.
"""

import dataclasses
import logging

import numpy as np

from gpt_jax.core.errors import DataError

_OVERLAP_CHARS = 4096
_GROUP_CHARS = 8 << 20  # tokenized at once, in parallel
_WARN_CHARS = 16 << 20
_MAX_CHARS = 256 << 20  # as one: the tokenizer needs about a hundred times the memory
_MIN_AGREEING = 4  # tokens on either side of a cut


def encode(tokenizer, pieces, place='text', group_chars=None):
  """Yields (ids, bytes of each) whose concatenation is `encode_with_bytes` of all.

  `group_chars` are tokenized at once: less is less memory, and the same result.
  Raises DataError, naming `place`, for a text that would have to be tokenized as one
  and is too long for that.
  """
  held, held_parts, is_exact = None, 1, tokenizer.has_exact_bytes
  waiting = []  # windows to be joined with `held`
  for window in _encoded(
    tokenizer, _windows(pieces), place, group_chars or _GROUP_CHARS
  ):
    if held is None:
      held = window
    elif not waiting and (cut := _agreement(held, window, is_exact)) is not None:
      yield held.tokens(held.first, cut[0])
      held, held_parts = dataclasses.replace(window, first=cut[1]), 1
    else:
      waiting.append(window)
      if len(waiting) >= held_parts:  # doubled each time, so the work stays linear
        held = _joined(tokenizer, held, waiting, place)
        held_parts, waiting = held_parts + len(waiting), []
  if waiting:
    held = _joined(tokenizer, held, waiting, place)
  if held is not None:
    yield held.tokens(held.first, len(held.ids))


@dataclasses.dataclass(frozen=True)
class _Window:
  """A piece with the text around it, and its tokens."""

  text: str
  left: int  # characters before the piece
  right: int  # ... and after it
  start: int  # bytes of the whole text before `text`
  ids: np.ndarray
  ends: np.ndarray  # of the tokens, in bytes of the whole text
  first: int = 0  # tokens before it belong to the window before

  @property
  def starts(self):
    return np.concatenate([[self.start], self.ends[:-1]])

  def tokens(self, first, stop):
    return self.ids[first:stop], (self.ends - self.starts)[first:stop].astype(np.int32)


def _windows(pieces):
  """Yields (text, left, right, start) of each piece, none of them short."""
  before, start = '', 0
  for piece, following in _pairs(_long_enough(pieces)):
    after = following[:_OVERLAP_CHARS]
    yield before + piece + after, len(before), len(after), start - _size(before)
    start += _size(piece)
    before = piece[-_OVERLAP_CHARS:]


def _size(text):
  return len(text) if text.isascii() else len(text.encode())


def _pairs(items):
  held = None
  for item in items:
    if held is not None:
      yield held, item
    held = item
  if held is not None:
    yield held, ''


def _long_enough(pieces):
  held = ''
  for piece in pieces:
    if min(len(held), len(piece)) < 2 * _OVERLAP_CHARS:
      held += piece
    else:
      yield held
      held = piece
  if held:
    yield held


def _encoded(tokenizer, windows, place, group_chars):
  for group in _groups(windows, group_chars):
    encoded = _encode(tokenizer, [text for text, *_ in group], place)
    for (text, left, right, start), (ids, num_bytes) in zip(
      group, encoded, strict=True
    ):
      ends = start + np.cumsum(num_bytes, dtype=np.int64)
      yield _Window(text, left, right, start, ids, ends)


def _groups(windows, group_chars):
  group, size = [], 0
  for window in windows:
    group.append(window)
    size += len(window[0])
    if size >= group_chars:
      yield group
      group, size = [], 0
  if group:
    yield group


def _agreement(one, other, is_exact):
  """Returns where tokens of `one` continue as those of `other`, as numbers in both.

  They have to agree in the middle half of the text that both have; None if they do not.
  `is_exact`: of bytes or byte-level BPE.
  """
  low = other.start + _size(other.text[: other.left // 2])
  high = other.start + _size(other.text[: other.left + one.right // 2])
  found = []
  for window in (one, other):
    first = np.searchsorted(window.starts, low, 'left')
    stop = np.searchsorted(window.ends, high, 'right')
    found.append((first, window.ids[first:stop], window.ends[first:stop]))
  (first, ids, ends), (other_first, other_ids, other_ends) = found
  if not (np.array_equal(ids, other_ids) and np.array_equal(ends, other_ends)):
    return None
  # Before a token with bytes: positions in bytes then name tokens.
  places = np.flatnonzero(ends[1:] > ends[:-1]) + 1
  if first < one.first or not len(places):
    return None
  place = int(places[len(places) // 2])
  # Unigram models divide a run of one letter in one of many ways that are equally
  # likely, and where the run ends decides: text that varies has to lie on both sides.
  sides = ids[:place], ids[place:]
  if min(len(side if is_exact else np.unique(side)) for side in sides) < _MIN_AGREEING:
    return None
  return int(first) + place, int(other_first) + place


def _joined(tokenizer, held, waiting, place):
  texts = [held.text[: len(held.text) - held.right]]
  texts += [window.text[window.left : -window.right or None] for window in waiting]
  last = waiting[-1]
  text = ''.join([*texts, last.text[len(last.text) - last.right :]])
  if len(text) > _MAX_CHARS:
    raise _uncuttable(place, text)
  if len(text) >= _WARN_CHARS:
    logging.warning(
      '%s: %.0f million characters without a place to cut; tokenized as one',
      *(place, len(text) / 1e6),
    )
  ((ids, num_bytes),) = _encode(tokenizer, [text], place)
  ends = held.start + np.cumsum(num_bytes, dtype=np.int64)
  joined = _Window(text, held.left, last.right, held.start, ids, ends)
  if held.first:
    cut = held.ends[held.first - 1]
    first = int(np.searchsorted(ends, cut, 'right'))
    if not first or ends[first - 1] != cut:
      raise _uncuttable(place, text)
    joined = dataclasses.replace(joined, first=first)
  return joined


def _encode(tokenizer, texts, place):
  try:
    return tokenizer.encode_with_bytes(texts)
  except DataError as error:
    raise DataError(f'{place}: {error}') from error


def _uncuttable(place, text):
  return DataError(
    f'{place}: {len(text):,} characters that this tokenizer has to see'
    ' as one; divide them into several documents.'
  )
