"""The base class of all data sources."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np


class Source:
  """One split of a corpus: `source[i]` is document i of `len(source)`.

  A document is `{'text': str}`, or `{'tokens': int32 [n]}` in a synthetic language;
  `documents.py` lists what it may be where `fields` are declared. Subclasses set
  `fingerprint` and define `__len__` and `__getitem__`.
  """

  # Flat, with at least `source` and `split`; changes whenever the content does.
  fingerprint: dict[str, Any]
  fields: tuple[str, ...] = ()  # arrays beside the tokens, see `fields.py`
  num_labels: int | None = None  # classes of field `labels`
  vocab_size: int | None = None  # documents are ids below it; None: they are text
  entropy: float | None = None  # nats per token that no model can beat, where known
  tokenizer_folder: Any = None  # of the tokenizer that the tokens come with
  num_bytes: int | None = None  # of all documents, about; for progress bars
  skipped: Mapping[int, str] = MappingProxyType({})  # damaged record -> reason

  def __len__(self) -> int:
    raise NotImplementedError

  def __getitem__(self, i) -> dict[str, Any]:
    raise NotImplementedError

  def pieces(self, i) -> Iterator[str | np.ndarray]:
    """Yields document `i` in parts that are tokenized one by one; without `fields`."""
    document = self[i]
    yield document['tokens'] if 'tokens' in document else document['text']

  def open_store(self, tokenizer, *, append_eos, with_bytes) -> Any:
    """Returns the tokens of all documents as `token_cache.TokenStore` has them.

    None: they are tokenized from the documents, once, and kept in the token cache.
    """
    return None

  def place(self, i) -> str:
    """Returns where document `i` comes from, for messages; '': not known."""
    return ''
