"""Where GPT-2's pattern divides texts into words, by arrays instead of a regex.

The pattern (`bpe_training.GPT2_PATTERN`) looks at the kind of each character and of its
neighbours only: letter, digit, white space or another one. Which kind a character is,
the pre-tokenizer of the `tokenizers` library is asked, once for each.
"""

import numpy as np

_LETTER, _DIGIT, _OTHER, _SPACE, _UNKNOWN = range(5)
_SUFFIXES = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


class WordSplitter:
  """Finds words as `pre_tokenizer`, a ByteLevel with GPT-2's pattern, does."""

  def __init__(self, pre_tokenizer):
    self._pre_tokenizer = pre_tokenizer
    self._kinds = np.full(0x110000, _UNKNOWN, np.uint8)
    self._learn(np.arange(128))

  def starts(self, points, ends):
    """Returns where words start, int64.

    Args:
      points: code points of texts, one after another, uint8 or uint32 [n].
      ends: where each text ends, ascending; the last one is n.
    """
    kinds = self._kinds_of(points)
    begins = np.concatenate([[0], ends[:-1]])
    is_space = kinds == _SPACE
    before_space = np.zeros(len(points), bool)  # whether the one before is white space
    before_space[1:] = is_space[:-1]
    before_blank = np.zeros(len(points), bool)  # ... is the space itself
    before_blank[1:] = points[:-1] == 0x20
    is_new = np.zeros(len(points), bool)  # of another kind than the one before
    is_new[1:] = kinds[1:] != kinds[:-1]
    # Of white space the last character goes with the word after it, if it is a space,
    # or is a word of its own, unless the text ends there.
    before_word = np.zeros(len(points), bool)
    before_word[:-1] = ~is_space[1:]
    before_word[np.asarray(ends) - 1] = False
    found = np.where(is_space, ~before_space | before_word, is_new & ~before_blank)
    found[begins] = True
    self._add_suffixes(points, found, begins)
    return np.flatnonzero(found)

  def _add_suffixes(self, points, found, begins):
    """Makes words of 's, 't, 're ... that begin where a word does."""
    quotes = np.flatnonzero(points[:-1] == 0x27)
    quotes = quotes[found[quotes]]
    if not len(quotes):
      return
    is_begin = np.zeros(len(points) + 4, bool)
    is_begin[begins] = True
    is_begin[len(points) :] = True
    padded = np.concatenate([points, np.zeros(4, points.dtype)])
    for suffix in _SUFFIXES:
      size = len(suffix)
      mine = quotes
      for i in range(1, size):
        mine = mine[(padded[mine + i] == ord(suffix[i])) & ~is_begin[mine + i]]
      found[mine + 1] = False
      after = mine + size
      found[after[after < len(points)]] = True

  def _kinds_of(self, points):
    kinds = self._kinds[points]
    if kinds.max() == _UNKNOWN:
      self._learn(np.unique(points[kinds == _UNKNOWN]))
      kinds = self._kinds[points]
    return kinds

  def _learn(self, points):
    for point in points:
      self._kinds[point] = self._kind(chr(point))

  def _kind(self, character):
    for kind, neighbour in ((_LETTER, 'a'), (_DIGIT, '1'), (_OTHER, '!')):
      if len(self._pre_tokenizer.pre_tokenize_str(neighbour + character)) == 1:
        return kind
    return _SPACE
