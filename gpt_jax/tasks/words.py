"""Words of a sentence as pieces of a tokenizer, each word by itself."""

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.data.continuation import encode_pair
from gpt_jax.evaluation import chinese

UNKNOWN = ('[UNK]', '<unk>', '<UNK>', '<|unk|>')
"""Special tokens that stand for what a vocabulary lacks."""
_CONTEXTS = ('a', '1', '.')
_STAND_INS = ('?', '.', '-', 'x', '0')


class WordPieces:
  """Pieces of words as they stand in running text: the first one, or after a space."""

  def __init__(self, tokenizer):
    self.tokenizer = tokenizer
    self._known = {}

  def of(self, words, between=' '):
    """Returns the ids of each word, int32 [n], at least one each.

    A word that becomes no piece, such as a control character in WordPiece, gets one
    that stands for unknown ones. `between`: '' for scripts without spaces, where each
    word is encoded as if it were alone.
    """
    return [
      self._pieces(word, is_inner=bool(between) and i > 0)
      for i, word in enumerate(words)
    ]

  def _pieces(self, word, is_inner):
    key = word, is_inner
    if key not in self._known:
      ids = self._inner(word) if is_inner else self.tokenizer.encode(word)
      self._known[key] = ids if len(ids) else self.stand_in
    return self._known[key]

  def _inner(self, word):
    # SentencePiece writes a space before each text that it gets: only in the middle of
    # one is it clear how many there are.
    for context in _CONTEXTS:
      try:
        return encode_pair(self.tokenizer, context, f' {word}')[1]
      except DataError:  # a vocabulary of characters may lack this one
        continue
    return self.tokenizer.encode(f' {word}')

  @property
  def stand_in(self):
    """The ids of a word that becomes no piece."""
    for name in UNKNOWN:
      if name in self.tokenizer.special_tokens:
        return np.array([self.tokenizer.special_tokens[name]], np.int32)
    for text in _STAND_INS:
      try:
        if len(ids := self.tokenizer.encode(text)):
          return ids[:1]
      except DataError:
        continue
    return np.array([self.tokenizer.eos_id or 0], np.int32)


def space_between(words):
  """Returns what stands between words: '' if most of their letters are Chinese."""
  return '' if chinese.is_chinese(words) else ' '
