"""Symbols and their labels under a map that is new in each document.

A document shows pairs, symbol then label: x0 f(x0) x1 f(x1) ... Symbols are
independent and uniform, and so are the labels that the document's f gives them. Labels
alone bear loss: that of pair k is one of `num_labels` by chance, unless its symbol is
among the k pairs, or shots, before it. A model better than that at k = 0 sees labels.
"""

import math

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import between, section
from gpt_jax.data import fields
from gpt_jax.data.synthetic import SyntheticSource
from gpt_jax.data.tokenizer import known_size


@section
class SymbolMapOptions:
  num_symbols: int = between(1, 2**15, default=8)
  num_labels: int = between(2, 2**15, default=4)
  shots: int | None = between(
    0, 2**20, default=None
  )  # score that pair alone; None: all


class SymbolMap:
  """Tokens below `num_symbols` are symbols, those from there on labels.

  `entropy` is the mean over the labels that bear loss.
  """

  fields = ()

  def __init__(self, options, num_pairs):
    self.num_symbols, self.num_labels = options.num_symbols, options.num_labels
    self.vocab_size = options.num_symbols + options.num_labels
    self.scored_pairs = range(num_pairs) if options.shots is None else [options.shots]
    unseen = [(1 - 1 / self.num_symbols) ** pair for pair in self.scored_pairs]
    self.entropy = float(np.mean(unseen)) * math.log(self.num_labels)

  def draw(self, rng, count, length):
    maps = rng.integers(self.num_labels, size=(count, self.num_symbols))
    symbols = rng.integers(self.num_symbols, size=(count, length // 2))
    labels = self.num_symbols + np.take_along_axis(maps, symbols, axis=1)
    return np.stack([symbols, labels], axis=2).reshape(count, length)

  def is_scored(self, tokens_N):
    scored = np.zeros(len(tokens_N), bool)
    scored[[2 * pair + 1 for pair in self.scored_pairs]] = True
    return scored

  def log_probs(self, tokens_N):
    result, known = np.full(len(tokens_N), -math.log(self.num_symbols)), {}
    for t in range(1, len(tokens_N), 2):
      symbol, label = tokens_N[t - 1], tokens_N[t]
      result[t] = -math.log(self.num_labels)
      if symbol in known:
        result[t] = 0.0 if known[symbol] == label else -math.inf
      known.setdefault(symbol, label)
    return result


@registry.entry(options=SymbolMapOptions)
@fields.known_fields(lambda data: ('loss_mask',))
@known_size(lambda data: data.options.num_symbols + data.options.num_labels)
def make(data):
  """Returns a source of documents of `data.generator.document_len` / 2 pairs."""
  options, length = data.options, data.generator.document_len
  if length % 2:
    raise ConfigError(
      f'data.generator.document_len={length}: expected an even number, a symbol and a'
      f' label for each pair; try {length + 1}.'
    )
  if options.shots is not None and options.shots >= length // 2:
    raise ConfigError(
      f'data.options.shots={options.shots}: expected less than the {length // 2} pairs'
      f' of data.generator.document_len={length}.'
    )
  language = SymbolMap(options, length // 2)
  settings = {
    'num_symbols': options.num_symbols,
    'num_labels': options.num_labels,
    'shots': 'all' if options.shots is None else options.shots,
  }
  return SyntheticSource(data, language, language.is_scored, settings)
