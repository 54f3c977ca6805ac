"""From documents to samples of N = seq_len + 1 tokens: inputs and shifted targets.

Neighbouring samples of one text share a token, the last target of the one and the first
input of the other, so every token but a text's first is predicted exactly once.
"""

from typing import Protocol

import numpy as np

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.core.registry import lookup
from gpt_jax.data import fields

_OPEN_BINS = 128


class Packing(Protocol):
  """Numbered samples, and the (start, stop) in the token stream of each one's parts.

  A sample has `tokens` and, where documents or padding are marked, `segments` (from 1;
  0 is padding) and `positions` (from 0 in each segment); also the store's fields, with
  their own padding (`fields.py`). All are int32 [N].
  """

  def __len__(self) -> int: ...

  def sample(self, i: int) -> dict[str, np.ndarray]: ...

  def spans(self, i: int) -> list[tuple[int, int]]: ...


class Concat:
  """Documents as one stream, cut every `seq_len` tokens.

  The incomplete last sample is dropped; with `keep_rest` it is padded and kept, and
  segments mark the padding. `mask_documents` gives each document its own segment.
  """

  def __init__(self, store, seq_len, *, mask_documents=False, keep_rest=False):
    self._store, self._seq_len = store, seq_len
    self._mask_documents, self._keep_rest = mask_documents, keep_rest
    targets = max(0, store.num_tokens - 1)
    self._count = -(-targets // seq_len) if keep_rest else targets // seq_len

  def __len__(self):
    return self._count

  def spans(self, i):
    start = i * self._seq_len
    return [(start, min(start + self._seq_len + 1, self._store.num_tokens))]

  def sample(self, i):
    ((start, stop),) = spans = self.spans(i)
    row = read_row(self._store, spans, self._seq_len + 1)
    if not (self._mask_documents or self._keep_rest):
      return row
    lengths = np.array([stop - start])
    if self._mask_documents:
      lengths = self._document_lengths(start, stop)
    segments, positions = layout(lengths, self._seq_len + 1)
    return row | {'segments': segments, 'positions': positions}

  def _document_lengths(self, start, stop):
    inner = self._store.document_starts(start, stop)
    return np.diff(inner, prepend=start, append=stop)


class ConcatBegin(Concat):
  """As `Concat`, but each sample begins with the token that each document begins with.

  Without it pretrained models that have always seen one are far worse.
  """

  def spans(self, i):
    start = 1 + i * self._seq_len
    return [(start, min(start + self._seq_len, self._store.num_tokens))]

  def sample(self, i):
    ((start, stop),) = spans = self.spans(i)
    # The first document's first token is the one that all begin with.
    row = read_row(self._store, [(0, 1), *spans], self._seq_len + 1)
    if not self._keep_rest:
      return row
    length = np.array([1 + stop - start])
    segments, positions = layout(length, self._seq_len + 1)
    return row | {'segments': segments, 'positions': positions}


class Windows:
  """A sample from each token of the stream on, as nanoGPT draws them."""

  def __init__(self, store, seq_len):
    self._store, self._width = store, seq_len + 1

  def __len__(self):
    return max(0, self._store.num_tokens - self._width + 1)

  def spans(self, i):
    return [(i, i + self._width)]

  def sample(self, i):
    return read_row(self._store, self.spans(i), self._width)


class _Bins:
  """Documents in bins of N tokens; longer ones are cut as in `Concat`."""

  def __init__(self, store, seq_len):
    self._store, self._width = store, seq_len + 1
    starts, lengths = _chunks(store.offsets, seq_len)
    bins = self._assign(lengths)
    order = np.argsort(bins, kind='stable')
    self._starts, self._lengths = starts[order], lengths[order]
    count = int(bins.max()) + 1 if len(bins) else 0
    self._bounds = np.searchsorted(bins[order], np.arange(count + 1))

  def _assign(self, lengths) -> np.ndarray:
    raise NotImplementedError

  def __len__(self):
    return len(self._bounds) - 1

  def spans(self, i):
    chunks = slice(self._bounds[i], self._bounds[i + 1])
    starts, lengths = self._starts[chunks], self._lengths[chunks]
    return [(int(s), int(s + n)) for s, n in zip(starts, lengths, strict=True)]

  def sample(self, i):
    spans = self.spans(i)
    lengths = np.array([stop - start for start, stop in spans])
    segments, positions = layout(lengths, self._width)
    row = read_row(self._store, spans, self._width)
    return row | {'segments': segments, 'positions': positions}


class FirstFit(_Bins):
  """Whole documents, each in the first of 128 open bins that it fits into.

  When it fits into none, the fullest is closed.
  """

  def _assign(self, lengths):
    return first_fit(lengths, self._width)


def first_fit(lengths, width):
  """Returns the bin of each of `lengths`, none above `width`: the first with space.

  Bins are numbered as they are opened; 128 are open at a time.
  """
  bins = np.empty(len(lengths), np.int64)
  free = np.zeros(_OPEN_BINS, np.int64)  # tokens that still fit into each open bin
  number = np.full(_OPEN_BINS, -1, np.int64)
  opened = 0
  for i, length in enumerate(lengths):
    slot = int(np.argmax(free >= length))
    if free[slot] < length:
      slot = int(np.argmin(free))
      free[slot], number[slot], opened = width, opened, opened + 1
    free[slot] -= length
    bins[i] = number[slot]
  return bins


class Pad(_Bins):
  """A document a row, padded; a longer one takes several rows."""

  def _assign(self, lengths):
    return np.arange(len(lengths))


def read_row(store, spans, width):
  """Returns tokens and fields of `spans` side by side, padded to `width`."""
  row = {}
  for name, column in {'tokens': store, **store.fields}.items():
    row[name] = values = np.full(width, fields.padding(name), np.int32)
    filled = 0
    for start, stop in spans:
      values[filled : filled + stop - start] = column.read(start, stop)
      filled += stop - start
  return row


def has_segments(data):
  """Returns whether training samples of a DataConfig carry segments and positions."""
  return data.mask_documents or getattr(_entry(data), 'has_segments', True)


def layout(lengths, width):
  """Returns (segments, positions) int32 [width] of chunks of `lengths` in a row."""
  filled = int(lengths.sum())
  segments, positions = np.zeros(width, np.int32), np.zeros(width, np.int32)
  segments[:filled] = np.repeat(np.arange(1, len(lengths) + 1), lengths)
  begins = np.repeat(np.cumsum(lengths) - lengths, lengths)
  positions[:filled] = np.arange(filled) - begins
  return segments, positions


def _chunks(offsets, seq_len):
  """Returns (starts, lengths) of documents cut to at most `seq_len + 1` tokens.

  Chunks of one document overlap by a token. Documents of a single token have nothing
  to predict and are left out.
  """
  begins, sizes = np.asarray(offsets[:-1]), np.diff(offsets)
  counts = -(-np.maximum(sizes - 1, 0) // seq_len)
  within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
  starts = np.repeat(begins, counts) + within * seq_len
  ends = np.repeat(begins + sizes, counts)
  return starts, np.minimum(ends - starts, seq_len + 1)


def pack(store, data, *, for_eval=False):
  """Returns the `Packing` of `store` that `data.packing` names.

  For evaluation nothing is dropped and segments are always there. Raises DataError when
  training data is shorter than one sample, ConfigError when samples lack fields.
  """
  if store.num_tokens < 2 or (not for_eval and store.num_tokens <= data.seq_len):
    raise DataError(
      f'data.seq_len={data.seq_len}: longer than the data, data.source={data.source!r}'
      f' data.split={data.split!r} has {store.num_tokens} tokens; a sample takes'
      f' seq_len + 1. Set data.seq_len to {max(1, store.num_tokens - 1)} or less.'
    )
  packing = _entry(data)(store, data, for_eval)
  if not len(packing):
    raise DataError(
      f'data.packing={data.packing!r}: data.source={data.source!r} has only documents'
      ' of one token, which leave nothing to predict; use data.packing=concat.'
    )
  if store.fields and (lost := set(store.fields) - set(packing.sample(0))):
    raise ConfigError(
      f'data.packing={data.packing!r}: its samples lack the fields'
      f' {", ".join(sorted(lost))} of the data; make them with packing.read_row.'
    )
  return packing


def _entry(data):
  return lookup(PACKINGS, data.packing, 'data.packing')


def without_segments(make):
  """Marks an entry whose training samples ignore where documents begin."""
  make.has_segments = False
  return make


@without_segments
def _concat(store, data, for_eval):
  masks = data.mask_documents
  return Concat(store, data.seq_len, mask_documents=masks, keep_rest=for_eval)


@without_segments
def _windows(store, data, for_eval):
  if for_eval:
    return Concat(store, data.seq_len, keep_rest=True)
  return Windows(store, data.seq_len)


@without_segments
def _concat_begin(store, data, for_eval):
  if not data.begin_token:
    raise ConfigError(
      "data.packing='concat_begin': data.begin_token is '', expected the token that"
      ' rows begin with, such as <bos>; or use data.packing=concat.'
    )
  return ConcatBegin(store, data.seq_len, keep_rest=for_eval)


PACKINGS = {
  'concat': _concat,
  'concat_begin': _concat_begin,
  'windows': _windows,
  'first_fit': lambda store, data, for_eval: FirstFit(store, data.seq_len),
  'pad': lambda store, data, for_eval: Pad(store, data.seq_len),
}
"""Each entry: `(store, data, for_eval) -> Packing`."""
