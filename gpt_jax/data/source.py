"""The base class of all data sources, with the defaults of what most have not."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np


class Source:
  """One split of a corpus: `len(source)` documents, of which `source[i]` is one.

  A document is `{'text': str}`, or `{'tokens': int32 [n]}` in a synthetic language.
  Subclasses set `fingerprint` and define `__len__` and `__getitem__`.
  """

  fingerprint: dict[str, Any]
  """Flat, with at least `source` and `split`; changes whenever the content does."""
  vocab_size: int | None = None
  """Documents are ids below it, not text; None: text."""
  entropy: float | None = None
  """Nats per token that no model can beat, where it is known."""
  num_bytes: int | None = None
  """About how large all documents are together, for progress bars."""
  skipped: Mapping[int, str] = MappingProxyType({})
  """Damaged records left out so far: number -> reason."""

  def __len__(self) -> int:
    raise NotImplementedError

  def __getitem__(self, i) -> dict[str, Any]:
    raise NotImplementedError

  def pieces(self, i) -> Iterator[str | np.ndarray]:
    """Yields document `i` in parts that are tokenized one by one: texts or ids."""
    document = self[i]
    yield document['tokens'] if 'tokens' in document else document['text']

  def place(self, i):
    """Returns where document `i` comes from, for people; '' where nothing is known."""
    del i
    return ''
