"""Documents that have text of evaluation sets in them.

Brown et al. 2020, arXiv:2005.14165, appendix C: runs of 13 words, in lower case and
without punctuation, that a training document and an evaluation text share. Texts of
fewer words are looked for as a whole, down to 8, the least N there. GPT-3 cuts such
places out of a document; here the document goes, and `max_share` is for books and other
long ones. Nor are n-grams of many documents let through.
"""

import dataclasses

import numpy as np

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.core.registry import entry, nearest
from gpt_jax.core.sections import between, comma_separated, rate, section
from gpt_jax.corpus import words
from gpt_jax.corpus.step import Step
from gpt_jax.data import SOURCES, documents, make_source, pipeline

_MAX_NGRAMS = 1 << 26  # 1 GiB of tables


@section
class Options:
  """Which sets are looked for, and how much of them a document may have."""

  sets: tuple[str, ...] = comma_separated(())  # names in eval.sets; (): all of them
  ngram_words: int = between(2, 64, 13)
  min_words: int = between(2, 64, 8)  # of shorter evaluation texts none is looked for
  max_share: float = rate(0.0)  # of a document's words, in n-grams of evaluation sets


@dataclasses.dataclass
class _Counts:
  """What is looked for of one set."""

  texts: int = 0
  too_short: int = 0
  ngrams: int = 0


class Decontaminate(Step):
  """Leaves out training documents that overlap with evaluation texts."""

  def __init__(self, options, sets):
    """`sets`: {name: texts of an evaluation set}."""
    self._options, self._hashes = options, words.WordHashes()
    self._names, self._counts = list(sets), {}
    found = {}  # words of an n-gram -> [(n-grams, number of the set)]
    for number, (name, texts) in enumerate(sets.items()):
      self._counts[name] = _Counts()
      for size, grams in self._ngrams(texts, self._counts[name]).items():
        found.setdefault(size, []).append((grams, number))
    self._tables = {size: _Table(parts) for size, parts in sorted(found.items())}

  def _ngrams(self, texts, counts):
    """Returns {n: uint64 [N], sorted}: distinct n-grams of `texts` by their words."""
    found = {}
    for text in texts:
      counts.texts += 1
      for block in words.blocks(text, self._options.ngram_words - 1):
        size = min(len(block), self._options.ngram_words)
        if size < self._options.min_words:
          counts.too_short += 1
          continue
        found.setdefault(size, []).append(words.ngrams(self._hashes(block), size))
        counts.ngrams += len(found[size][-1])
      if counts.ngrams > _MAX_NGRAMS:
        raise DataError(
          f'--step=decontaminate:sets: over {_MAX_NGRAMS:,} n-grams; name smaller sets.'
        )
    return {size: np.unique(np.concatenate(parts)) for size, parts in found.items()}

  def keep(self, document):
    if not document.is_training:
      return None
    num_words, inside, first = 0, 0, None
    for block in words.blocks(document.text, self._options.ngram_words - 1):
      hashes = self._hashes(block)
      is_inside = np.zeros(len(hashes), bool)
      for size, table in self._tables.items():
        begins, numbers = table.find(words.ngrams(hashes, size))
        if len(begins):
          first = int(numbers[0]) if first is None else first
          is_inside |= words.covered(begins, size, len(hashes))
      num_words, inside = num_words + len(hashes), inside + int(is_inside.sum())
    if first is None or inside <= self._options.max_share * num_words:
      return None
    return f'overlaps with {self._names[first]}'

  def describe(self):
    counts = {name: dataclasses.asdict(c) for name, c in self._counts.items()}
    return {'sets': counts}


class _Table:
  """N-grams of all sets, each with the number of the first set that has it."""

  def __init__(self, parts):
    grams = np.concatenate([grams for grams, _ in parts])
    numbers = np.concatenate([np.full(len(g), n, np.int32) for g, n in parts])
    self._grams, firsts = np.unique(grams, return_index=True)
    self._numbers = numbers[firsts]
    # Nearly all n-grams of a corpus are in no set: one look tells most of them.
    bits = min(max(int(len(self._grams) * 16).bit_length(), 10), 28)
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


def texts_of(config, name):
  """Yields the texts of all documents of the set `name` of eval.sets."""
  fields = config.eval.sets[name]
  data = load.data_section(config.data, fields, f'eval.sets.{name}', SOURCES)
  for part, _ in pipeline.members(data).values():
    source = make_source(part)
    if source.vocab_size is not None:
      raise ConfigError(
        f'--step=decontaminate:sets={name}: its source {part.source!r} has no text.'
      )
    for i in range(len(source)):
      yield '\n'.join(documents.texts(source, i))


@entry(options=Options)
def make(options, context):
  """Returns the step, which has read its sets. Raises ConfigError for unknown ones."""
  known = context.config.eval.sets
  for name in options.sets:
    if name not in known:
      hint = nearest(name, known)
      raise ConfigError(
        f'--step=decontaminate:sets={",".join(options.sets)}: no {name!r} in eval.sets;'
        + (f' did you mean {hint!r}?' if hint else f' expected {", ".join(known)}.')
      )
  names = options.sets or sorted(known)
  if options.min_words > options.ngram_words:
    raise ConfigError(
      f'--step=decontaminate:min_words={options.min_words}: expected at most'
      f' ngram_words={options.ngram_words}.'
    )
  return Decontaminate(
    options, {name: texts_of(context.config, name) for name in names}
  )
