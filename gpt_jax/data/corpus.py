"""A corpus: numbered documents as bytes, before any split; damaged ones left out."""

import functools
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.data import encodings

# ArrayRecord raises the first two for bad hashes, IndexError past the end.
READ_ERRORS = (RuntimeError, ValueError, IndexError, OSError)


class Corpus:
  """Base of all corpora: `len(corpus)`, `document(i)`, and `place(i)` for messages."""

  fingerprint: dict[str, Any]
  num_bytes: int  # about; for progress bars
  fields: tuple[str, ...] = ()  # as in `Source`
  num_labels: int | None = None
  skipped: Mapping[int, str] = MappingProxyType({})  # damaged record -> reason

  def __len__(self) -> int:
    raise NotImplementedError

  def document(self, i):
    """Returns UTF-8 bytes; a memory map will do. Raises DataError for damage.

    With `fields` these are what decides the split of document i: its text or prompt.
    """
    raise NotImplementedError

  def record(self, i) -> dict[str, Any]:
    """Returns document i with its `fields`, as `documents.py` lists them."""
    raise NotImplementedError

  def place(self, i) -> str:
    raise NotImplementedError


class SkippingCorpus(Corpus):
  """`corpus` with b'' in place of each unreadable document that was asked for.

  Which they are follows from the files alone, so every pass leaves out the same. Raises
  DataError for one more than `limit`, naming all of them.
  """

  def __init__(self, corpus, limit):
    self._corpus, self._limit = corpus, limit
    self.skipped: dict[int, str] = {}
    self.fingerprint, self.num_bytes = corpus.fingerprint, corpus.num_bytes
    self.fields, self.num_labels = corpus.fields, corpus.num_labels
    self.place = corpus.place

  def __len__(self):
    return len(self._corpus)

  def document(self, i):
    if i in self.skipped:
      return b''
    try:
      document = self._corpus.document(i)
      if self.fields:
        self._corpus.record(i)  # so that every split leaves out the same
    except DataError as error:
      self._skip(i, str(error))
      return b''
    if found := encodings.first_error(document):
      position, reason = found
      self._skip(i, f'{self.place(i)}: byte {position} is not UTF-8 ({reason})')
      return b''
    return document

  def record(self, i):
    return self._corpus.record(i) if self.document(i) else {'text': ''}

  def _skip(self, i, reason):
    self.skipped[i] = reason
    if len(self.skipped) > self._limit:
      listed = '\n'.join(f'  {reason}' for reason in self.skipped.values())
      raise DataError(
        f'data.max_corrupt_records={self._limit}: there are more damaged records:\n'
        f'{listed}\nReplace these files by good copies, or allow more.'
      )
    _warn(f'left out (data.max_corrupt_records={self._limit}): {reason}')


@functools.cache  # a corpus is opened for the tokenizer, each split and each set
def _warn(text):
  logging.warning('%s', text)


def skip_damaged(corpus, data):
  """Returns `corpus`, without damaged records if `data.max_corrupt_records` allows."""
  limit = data.max_corrupt_records
  return SkippingCorpus(corpus, limit) if limit else corpus


def locate(ends, i):
  """Returns (shard, number within it) of document `i`; `ends` are cumulative counts."""
  shard = int(np.searchsorted(ends, i, side='right'))
  return shard, i - (int(ends[shard - 1]) if shard else 0)


def first_line(error):
  """Returns the first line of an error's message, or its class."""
  return (str(error).splitlines() or [type(error).__name__])[0][:200]
