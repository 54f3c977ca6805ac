"""Synthetic languages: reproducible random documents of token ids, of known entropy.

`data.generator` alone defines a language; its documents are drawn from `data.seed`,
each split from a random stream of its own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.data import splits
from gpt_jax.data.source import Source
from gpt_jax.data.tokenizer import known_size

_BLOCK = 256  # documents drawn at once; part of what defines the documents
_STREAMS = {'train': 0, 'validation': 1, 'test': 2}

# Decorates the `make(data)` of each language.
sized_by_generator = known_size(lambda data: data.generator.vocab_size)


class SyntheticSource(Source):
  """`source[i] == {'tokens': int32 [document_len]}`, drawn from `language`.

  A language has `vocab_size`, `fields` (those of `data.generator` that define it),
  `draw(rng, count, length) -> int64 [count, length]`, `log_probs(tokens_N) -> float64
  [N]` (-inf where impossible), and `entropy`: what `log_probs` costs in expectation, a
  lower bound for every model; each language says over which tokens it is the mean.

  Args:
    is_scored: which tokens of a document bear loss, of its tokens; None: all. The
      language's `entropy` is that of those.
    settings: what defines the documents besides `data.generator`, for the fingerprint.
  """

  def __init__(
    self, data, language, is_scored=None,
    settings: Mapping[str, Any] = MappingProxyType({}),
  ):  # fmt: skip
    if data.split not in _STREAMS:
      splits.check(data.split)
      raise ConfigError(
        f'data.split={data.split!r}: a synthetic language is endless; expected one of'
        f' {", ".join(_STREAMS)}.'
      )
    generator = data.generator
    self.language, self.split = language, data.split
    self.vocab_size, self.entropy = language.vocab_size, language.entropy
    self._is_scored = is_scored
    self.fields = () if is_scored is None else ('loss_mask',)
    self._length = generator.document_len
    self._count = _num_documents(generator.num_documents, data.split)
    self._seed = data.seed or 0
    self._block = (None, np.empty((0, self._length), np.int32))  # (number, tokens)
    self.fingerprint = {
      'source': data.source,
      'split': data.split,
      'seed': self._seed,
      **{name: getattr(generator, name) for name in language.fields},
      'num_documents': self._count,
      'document_len': self._length,
      **settings,
    }

  def __len__(self):
    return self._count

  def __getitem__(self, i):
    number, row = divmod(i, _BLOCK)
    block = self._block  # one read: another thread may replace it meanwhile
    if block[0] != number:
      rng = np.random.default_rng([self._seed, _STREAMS[self.split], number])
      tokens = self.language.draw(rng, _BLOCK, self._length)
      self._block = block = (number, tokens.astype(np.int32))
    tokens_N = block[1][row]
    if self._is_scored is None:
      return {'tokens': tokens_N}
    return {'tokens': tokens_N, 'loss_mask': self._is_scored(tokens_N)}

  def log_probs(self, tokens_N):
    """Returns float64 [N]: ln P(token | those before it in its document)."""
    return self.language.log_probs(np.asarray(tokens_N))


def _num_documents(count, split):
  # A sixteenth suffices for evaluation: 256 documents of 1024 tokens put the standard
  # error of a mean loss near 0.002 nats.
  return count if split == 'train' else min(count, max(16, count // 16))
