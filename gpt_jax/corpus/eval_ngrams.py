"""N-grams of evaluation texts, and where a document has one of them."""

import dataclasses

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.corpus import words

MAX_NGRAMS = 1 << 26  # 1 GiB of tables


@dataclasses.dataclass
class Counts:
  """What is looked for of one set."""

  texts: int = 0
  too_short: int = 0
  ngrams: int = 0


class EvalNgrams:
  """The n-grams of `sets`, {name: texts}, of `size` words each.

  Texts of fewer words, but at least `least`, are one n-gram. Raises DataError for more
  than fit into memory.
  """

  def __init__(self, sets, size, least):
    self._size, self._least = size, least
    self._names, self._hashes = list(sets), words.WordHashes()
    self.counts = {name: Counts() for name in sets}
    found = {}  # words of an n-gram -> [(n-grams, number of their set)]
    for number, (name, texts) in enumerate(sets.items()):
      for n, grams in self._ngrams(texts, self.counts[name]).items():
        found.setdefault(n, []).append((grams, number))
    self._tables = {n: _Table(parts) for n, parts in sorted(found.items())}

  def _ngrams(self, texts, counts):
    """Returns {n: uint64 [N]}: the distinct n-grams of `texts` by their words."""
    found = {}
    for text in texts:
      counts.texts += 1
      blocks = list(words.blocks(text, self._size - 1))
      counts.too_short += not blocks or len(blocks[0]) < self._least
      for block in blocks:
        n = min(len(block), self._size)
        if n >= self._least:
          found.setdefault(n, []).append(words.ngrams(self._hashes(block), n))
          counts.ngrams += len(found[n][-1])
      if sum(each.ngrams for each in self.counts.values()) > MAX_NGRAMS:
        raise DataError(
          f'--step=decontaminate:sets={",".join(self._names)}: they have over'
          f' {MAX_NGRAMS:,} n-grams, which do not fit into memory; name smaller sets.'
        )
    return {n: np.unique(np.concatenate(parts)) for n, parts in found.items()}

  def find(self, text):
    """Returns ([(first word, end)], name of the set of one of them, words of `text`).

    Stretches of words that lie in n-grams of the sets: apart, in order.
    """
    begins, ends, name, count = [], [], None, 0
    for block in words.blocks(text, self._size - 1):
      hashes = self._hashes(block)
      start = max(count - self._size + 1, 0)
      for n, table in self._tables.items():
        places, numbers = table.find(words.ngrams(hashes, n))
        if len(places):
          name = name or self._names[numbers[0]]
          begins.append(start + places)
          ends.append(start + places + n)
      count = start + len(block)
    if name is None:
      return [], None, count
    begins, ends = np.concatenate(begins), np.concatenate(ends)
    return joined(sorted(zip(begins.tolist(), ends.tolist(), strict=True))), name, count


class _Table:
  """N-grams of all sets, each with the number of the first set that has it."""

  def __init__(self, parts):
    grams = np.concatenate([grams for grams, _ in parts])
    numbers = np.concatenate([np.full(len(g), n, np.int32) for g, n in parts])
    self._grams, firsts = np.unique(grams, return_index=True)
    self._numbers = numbers[firsts]
    # Nearly all n-grams of a corpus are in no set: one look tells most of them.
    bits = min(max((len(grams) * 16).bit_length(), 10), 28)
    self._shift = np.uint64(64 - bits)
    self._may_have = np.zeros(1 << bits, bool)
    self._may_have[self._grams >> self._shift] = True

  def find(self, grams):
    """Returns (places in `grams` of those that are here, number of the set of each)."""
    places = np.flatnonzero(self._may_have[grams >> self._shift])
    here = np.searchsorted(self._grams, grams[places])
    here = np.minimum(here, len(self._grams) - 1)
    is_here = self._grams[here] == grams[places]
    return places[is_here], self._numbers[here[is_here]]


def joined(stretches):
  """Returns stretches [(start, end)], which are in order, joined where they touch."""
  found = []
  for start, end in stretches:
    if found and start <= found[-1][1]:
      found[-1] = found[-1][0], max(end, found[-1][1])
    else:
      found.append((start, end))
  return found
