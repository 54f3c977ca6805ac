"""Words of a text as hashes, and hashes of word n-grams, for all that compares texts.

Case, punctuation, spaces and the form of Unicode (NFKC) do not count. In scripts that
put no spaces between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) each
character is a word.
"""

import hashlib
import itertools
import operator
import re
import unicodedata

import numpy as np

_UNSPACED = (
  '\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff'
  '\uf900-\ufaff\U00020000-\U0003ffff'
)
_WORD = re.compile(f'[{_UNSPACED}]|[^\\W{_UNSPACED}]+')
_WHOLE = operator.itemgetter(0)  # of a match
_BLOCK = 1 << 18  # words, some 20 MB
_MAX_KNOWN = 1 << 18  # words that are remembered, some 40 MB
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit is lost


def normalized(text):
  """Returns `text` in lower case and in NFKC."""
  return (text if text.isascii() else unicodedata.normalize('NFKC', text)).lower()


def words(text):
  """Returns the list of words of `text`, normalized."""
  return _WORD.findall(normalized(text))


def blocks(text, overlap):
  """Yields the words of `text` in lists, each of which begins with the end of the last.

  Args:
    overlap: the number of words that two lists share.
  """
  found, held = map(_WHOLE, _WORD.finditer(normalized(text))), []
  while new := list(itertools.islice(found, _BLOCK)):
    held = held[len(held) - overlap :] + new
    yield held


def spans(text):
  """Yields (start, end) in `text` of each of its words.

  There may be more or fewer than `words` has where NFKC makes letters of other signs.
  """
  for match in _WORD.finditer(text):
    for _ in _WORD.findall(normalized(match[0])):
      yield match.span()


class WordHashes(dict):
  """Called with words, returns uint64 [len(words)]; the same on every machine."""

  def __missing__(self, word):
    if len(self) >= _MAX_KNOWN:
      self.clear()
    digest = hashlib.blake2b(word.encode('utf-8', 'surrogatepass'), digest_size=8)
    self[word] = value = int.from_bytes(digest.digest(), 'little')
    return value

  def __call__(self, words):
    return np.fromiter(map(self.__getitem__, words), np.uint64, len(words))


def ngrams(hashes, n):
  """Returns uint64 [W - n + 1]: a hash of each `n` words in a row, none for W < n.

  Args:
    hashes: uint64 [W], of the words.
  """
  count = len(hashes) - n + 1
  if count <= 0:
    return np.zeros(0, np.uint64)
  value = hashes[:count].copy()
  for offset in range(1, n):
    value *= _FACTOR
    value += hashes[offset : offset + count]
  return mixed(value)


def covered(begins, n, count):
  """Returns bool [count]: which words lie in n-grams that begin at places `begins`."""
  steps = np.zeros(count + 1, np.int64)
  steps[begins] = 1
  steps[np.asarray(begins, np.int64) + n] -= 1
  return np.cumsum(steps)[:-1] > 0


def mixed(values):
  """Returns `values`, uint64, each bit of which depends on all bits of the old ones.

  The finalizer of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195).
  """
  values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return values ^ (values >> np.uint64(31))
