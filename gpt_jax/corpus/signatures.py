"""MinHash: how alike two texts are, from a few numbers of each.

Broder 1997, doi:10.1109/SEQUEN.1997.666900: for a random order of all n-grams, the
probability that two texts have the same least one is the Jaccard similarity of their
sets of n-grams. Bands of signatures find pairs that may be alike (Indyk and Motwani
1998, doi:10.1145/276698.276876); one bit of each hash (Li and Koenig 2010,
arXiv:0910.3349) then tells how alike they are, so that no signature is read twice.
"""

import numpy as np

from gpt_jax.corpus import words

_CHUNK = 1024  # n-grams at once: 512 kB of values for 128 hashes stay in the cache
_SEED = np.uint64(0x6A707467)  # part of the format: signatures of one seed compare


class MinHash:
  """Signatures of `bands` * `rows` hashes of the word n-grams of texts."""

  def __init__(self, *, ngram_words, bands, rows):
    self.ngram_words, self.bands, self.rows = ngram_words, bands, rows
    # 32 bits: half the time of 64, and texts have far fewer n-grams. An odd factor and
    # an offset permute the numbers of 32 bits.
    drawn = words.mixed(np.arange(2 * bands * rows, dtype=np.uint64) + _SEED)
    self._factors, self._offsets = drawn.astype(np.uint32).reshape(2, -1, 1)
    self._factors |= 1
    self._hashes = words.WordHashes()

  def signature(self, text):
    """Returns uint32 [bands * rows] of `text`, None for one without words.

    A text of fewer words than an n-gram has one n-gram: all of it.
    """
    least = None
    # In blocks that share n - 1 words: a list of all words of a book is large.
    for block in words.blocks(text, self.ngram_words - 1):
      hashes = self._hashes(block)
      found = words.ngrams(hashes, min(self.ngram_words, len(hashes)))
      new = self._least(found)
      least = new if least is None else np.minimum(least, new)
    return least

  def _least(self, ngrams):
    ngrams = (ngrams >> np.uint64(32)).astype(np.uint32)
    least = np.full(len(self._factors), 0xFFFFFFFF, np.uint32)
    for start in range(0, len(ngrams), _CHUNK):
      values = self._factors * ngrams[start : start + _CHUNK]
      values += self._offsets
      np.minimum(least, values.min(axis=1), out=least)
    return least

  def keys(self, signatures):
    """Returns uint64 [N, bands] of uint32 [N, bands * rows]; no key is of two bands."""
    rows = signatures.reshape(len(signatures), self.bands, self.rows)
    keys = np.broadcast_to(np.arange(self.bands, dtype=np.uint64), rows.shape[:2])
    for row in range(self.rows):
      keys = words.mixed(keys + rows[..., row])
    return keys

  def bits(self, signatures):
    """Returns uint8 [N, bytes] of uint32 [N, bands * rows]: one bit of each hash."""
    # Mixed: the high bits of a least number are 0, and its low ones those of a product.
    return np.packbits(
      words.mixed(signatures.astype(np.uint64)).astype(np.uint8) & 1, axis=1
    )

  def similarity(self, bits, others):
    """Returns float64 [N]: the estimated Jaccard similarity of pairs of one key.

    The hashes of the band that they share agree for certain and say nothing.
    """
    count = self.bands * self.rows - self.rows
    differing = np.bitwise_count(bits ^ others).sum(axis=-1, dtype=np.int64)
    return np.maximum(1.0 - 2.0 * differing / count, 0.0)

  def recall(self, similarity):
    """Returns the probability that a pair of that Jaccard similarity shares a band."""
    return recall(similarity, self.bands, self.rows)


def recall(similarity, bands, rows):
  return 1.0 - (1.0 - similarity**rows) ** bands


def rows_for(similarity, count):
  """Returns the most rows of `count` hashes that miss at most a tenth of such pairs."""
  fitting = [
    rows
    for rows in range(1, count // 2 + 1)
    if recall(similarity, count // rows, rows) >= 0.9
  ]
  return max(fitting, default=1)
