"""Bytes as tokens: which tokens a text may begin with, and how few may spell it."""

import functools
from typing import Any

import numpy as np

from gpt_jax.core.errors import ConfigError, DataError


class Spelling:
  """The tokens of a vocabulary by the bytes that they stand for."""

  def __init__(self, token_bytes):
    self.token_bytes = token_bytes
    pairs = [(piece, i) for i, piece in enumerate(token_bytes) if piece]
    self._ids: dict[bytes, int] = dict(reversed(pairs))  # of equal ones the lowest id
    self._longest = max((len(piece) for piece, _ in pairs), default=0)
    self.atoms = [(i, piece) for piece, i in self._ids.items() if _is_atom(piece)]
    """(id, bytes) of the tokens of one byte or character."""
    self.bytes = {byte for _, piece in self.atoms for byte in piece}
    """Those that atoms spell."""

  @staticmethod
  def of(tokenizer):
    """Returns the Spelling of a tokenizer, made once.

    Raises ConfigError unless a text is the bytes of its tokens one after another.
    """
    made: Any = vars(tokenizer)
    if '_spelling' not in made:
      _require_bytes(tokenizer)
      made['_spelling'] = Spelling(tokenizer.token_bytes)
    return made['_spelling']

  @functools.cached_property
  def missing_V(self):
    """int32 [V]: the bytes that are missing of the character a token ends within."""
    return np.array([missing_bytes(piece) for piece in self.token_bytes], np.int32)

  @functools.cached_property
  def character_class(self):
    """The characters that can be written, as a regular expression."""
    if len(self.bytes) == 256:
      return '[\\s\\S]'
    characters = {piece.decode('utf-8', 'ignore') for _, piece in self.atoms} - {''}
    return '[' + ''.join(f'\\x{{{ord(one):X}}}' for one in sorted(characters)) + ']'

  def beginnings(self, content):
    """Yields (id, number of bytes) of each token that `content` may begin with."""
    for size in range(min(self._longest, len(content)), 0, -1):
      token_id = self._ids.get(content[:size])
      if token_id is not None:
        yield token_id, size

  def ids(self, content):
    """Returns ids of `content`, the longest tokens from left to right; None: none."""
    found = []
    while content:
      first = next(self.beginnings(content), None)
      if first is None:
        return None
      found.append(first[0])
      content = content[first[1] :]
    return found


def missing_bytes(content):
  """Returns how many bytes are missing of the UTF-8 character that `content` ends in.

  0 also where its first byte is not in `content`.
  """
  for back in range(1, min(4, len(content)) + 1):
    byte = content[-back]
    if byte & 0xC0 != 0x80:  # no continuation byte: the first of a character
      size = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
      return max(0, size - back)
  return 0


def _is_atom(piece):
  if len(piece) == 1:
    return True
  try:
    return len(piece) <= 4 and len(piece.decode()) == 1
  except UnicodeDecodeError:
    return False


def _require_bytes(tokenizer):
  try:
    before, ids = tokenizer.encode('a'), tokenizer.encode('{"a": [1, true]}')
  except DataError:  # characters that its vocabulary lacks
    return
  joined = b''.join(tokenizer.bytes_of(i) for i in ids).decode('utf-8', 'replace')
  if tokenizer.decode([*before, *ids]) != tokenizer.decode(before) + joined:
    raise ConfigError(
      f'the {tokenizer.name} tokenizer puts spaces between tokens, or takes them away:'
      ' no grammar can be kept over its ids. Use a model with a byte-level,'
      ' SentencePiece or character tokenizer.'
    )
