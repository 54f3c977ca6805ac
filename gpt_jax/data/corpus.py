"""A corpus: numbered documents as bytes, before any split; damaged ones left out."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gpt_jax.core.errors import DataError

READ_ERRORS = (RuntimeError, ValueError, IndexError, OSError)
"""What ArrayRecord raises for damage: hashes (the first two), ends (IndexError)."""


class Corpus:
  """Base of all corpora. Subclasses set `fingerprint` and `num_bytes`."""

  fingerprint: dict[str, Any]
  num_bytes: int  # about; for progress bars
  skipped: Mapping[int, str] = MappingProxyType({})

  def __len__(self) -> int:
    raise NotImplementedError

  def document(self, i):
    """Returns UTF-8 bytes; a memory map will do. Raises DataError for damage."""
    raise NotImplementedError

  def place(self, i) -> str:
    """Returns where document `i` stands, for messages: a file, a record in it."""
    raise NotImplementedError


class SkippingCorpus(Corpus):
  """`corpus` with b'' for each document that cannot be read, `limit` of them at most.

  `skipped` lists those that have been asked for. Which they are follows from the files
  alone, so every pass leaves out the same. Raises DataError for one more than `limit`,
  naming all of them.
  """

  def __init__(self, corpus, limit):
    self._corpus, self._limit, self.skipped = corpus, limit, {}
    self.fingerprint, self.num_bytes = corpus.fingerprint, corpus.num_bytes

  def __len__(self):
    return len(self._corpus)

  def place(self, i):
    return self._corpus.place(i)

  def document(self, i):
    if i in self.skipped:
      return b''
    try:
      document = self._corpus.document(i)
      self._require_text(document, i)
      return document
    except DataError as error:
      self._skip(i, error)
      return b''

  def _require_text(self, document, i):
    try:
      str(document, 'utf-8')
    except UnicodeDecodeError as error:
      raise DataError(
        f'{self.place(i)}: byte {error.start} is not UTF-8 ({error.reason})'
      ) from error

  def _skip(self, i, error):
    self.skipped[i] = str(error)
    if len(self.skipped) > self._limit:
      listed = '\n'.join(f'  {reason}' for reason in self.skipped.values())
      raise DataError(
        f'data.max_corrupt_records={self._limit}: there are more damaged records:\n'
        f'{listed}\nReplace these files by good copies, or allow more.'
      ) from error
    logging.warning('left out (data.max_corrupt_records=%d): %s', self._limit, error)


def skip_damaged(corpus, data):
  """Returns `corpus`, without damaged records if `data.max_corrupt_records` allows."""
  limit = data.max_corrupt_records
  return SkippingCorpus(corpus, limit) if limit else corpus


def locate(ends, i):
  """Returns (shard, number within it) of document `i`; `ends` are cumulative counts."""
  shard = int(np.searchsorted(ends, i, side='right'))
  return shard, i - (int(ends[shard - 1]) if shard else 0)


def first_line(error):
  """Returns the first line of an error's message, or the name of its class."""
  return (str(error).splitlines() or [type(error).__name__])[0][:200]
