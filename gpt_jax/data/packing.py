"""From documents to samples of N = seq_len + 1 tokens.

A sample is inputs and targets at once, shifted by one. A packing has `len(packing)`
samples and `packing.sample(i)` -> `tokens` [N] and, where documents or padding are told
apart, `segments` [N] (from 1; 0 is padding) and `positions` [N] (from 0 in each
segment), all int32. `packing.spans(i)` says where in the stream of all tokens they
stand: `[(start, stop), ...]`, side by side in the sample. Neighbouring samples of one
text share a token: it is the last target of the one and the first input of the other,
so every token but a text's first is predicted exactly once.
"""

from typing import Protocol

import numpy as np

from gpt_jax.core.errors import DataError

_OPEN_BINS = 128


class Packing(Protocol):
  """What `pack` returns."""

  def __len__(self) -> int: ...

  def sample(self, i: int) -> dict[str, np.ndarray]: ...

  def spans(self, i: int) -> list[tuple[int, int]]: ...


class Concat:
  """Documents as one stream, cut every `seq_len` tokens.

  Training drops what is left at the end; with `keep_rest` it is padded and kept, and
  segments say what is padding. `mask_documents` gives each document its own segment.
  """

  def __init__(self, store, seq_len, *, mask_documents=False, keep_rest=False):
    self._store, self._seq_len = store, seq_len
    self._mask_documents, self._keep_rest = mask_documents, keep_rest
    windows = max(0, store.num_tokens - 1)
    self._count = -(-windows // seq_len) if keep_rest else windows // seq_len

  def __len__(self):
    return self._count

  def spans(self, i):
    start = i * self._seq_len
    return [(start, min(start + self._seq_len + 1, self._store.num_tokens))]

  def sample(self, i):
    ((start, stop),) = self.spans(i)
    tokens = np.zeros(self._seq_len + 1, np.int32)
    tokens[: stop - start] = self._store.read(start, stop)
    if not (self._mask_documents or self._keep_rest):
      return {'tokens': tokens}
    lengths = np.array([stop - start])
    if self._mask_documents:
      lengths = self._document_lengths(start, stop)
    segments, positions = _layout(lengths, self._seq_len + 1)
    return {'tokens': tokens, 'segments': segments, 'positions': positions}

  def _document_lengths(self, start, stop):
    """Returns how many tokens of each document lie in the window."""
    first, last = np.searchsorted(self._store.offsets, [start, stop - 1], side='right')
    bounds = np.array(self._store.offsets[first - 1 : last + 1])
    bounds[0], bounds[-1] = start, stop
    return bounds[1:] - bounds[:-1]


class Windows:
  """Every window of the stream: one sample begins at each token, as nanoGPT draws them.

  A text seen again is seen under other cuts. An epoch of these is `seq_len` times as
  long as one of `Concat`; evaluation, which scores each token once, uses `Concat`.
  """

  def __init__(self, store, seq_len):
    self._store, self._width = store, seq_len + 1

  def __len__(self):
    return max(0, self._store.num_tokens - self._width + 1)

  def spans(self, i):
    return [(i, i + self._width)]

  def sample(self, i):
    tokens = self._store.read(i, i + self._width)
    return {'tokens': np.asarray(tokens, np.int32)}


class FirstFit:
  """Whole documents in bins of N tokens, each in the first of 128 open bins with room.

  Longer documents are cut as `Concat` cuts the stream. When no open bin has room, the
  fullest is closed. Documents of a single token have nothing to predict and are left
  out.
  """

  def __init__(self, store, seq_len):
    self._store, self._width = store, seq_len + 1
    starts, lengths = _chunks(store.offsets, seq_len)
    bins = _first_fit(lengths, self._width)
    order = np.argsort(bins, kind='stable')
    self._starts, self._lengths = starts[order], lengths[order]
    count = int(bins.max()) + 1 if len(bins) else 0
    self._bounds = np.searchsorted(bins[order], np.arange(count + 1))

  def __len__(self):
    return len(self._bounds) - 1

  def spans(self, i):
    chunks = slice(self._bounds[i], self._bounds[i + 1])
    starts, lengths = self._starts[chunks], self._lengths[chunks]
    return [(int(s), int(s + n)) for s, n in zip(starts, lengths, strict=True)]

  def sample(self, i):
    chunks = slice(self._bounds[i], self._bounds[i + 1])
    lengths = self._lengths[chunks]
    tokens = np.zeros(self._width, np.int32)
    filled = 0
    for start, length in zip(self._starts[chunks], lengths, strict=True):
      tokens[filled : filled + length] = self._store.read(start, start + length)
      filled += length
    segments, positions = _layout(lengths, self._width)
    return {'tokens': tokens, 'segments': segments, 'positions': positions}


class Pad:
  """A document a row, padded; a longer one takes several rows."""

  def __init__(self, store, seq_len):
    self._store, self._width = store, seq_len + 1
    self._starts, self._lengths = _chunks(store.offsets, seq_len)

  def __len__(self):
    return len(self._starts)

  def spans(self, i):
    start = int(self._starts[i])
    return [(start, start + int(self._lengths[i]))]

  def sample(self, i):
    start, length = self._starts[i], self._lengths[i]
    tokens = np.zeros(self._width, np.int32)
    tokens[:length] = self._store.read(start, start + length)
    segments, positions = _layout(np.array([length]), self._width)
    return {'tokens': tokens, 'segments': segments, 'positions': positions}


def _layout(lengths, width):
  """Returns (segments, positions) int32 [width] of chunks of `lengths` in a row."""
  filled = int(lengths.sum())
  segments, positions = np.zeros(width, np.int32), np.zeros(width, np.int32)
  segments[:filled] = np.repeat(np.arange(1, len(lengths) + 1), lengths)
  begins = np.repeat(np.cumsum(lengths) - lengths, lengths)
  positions[:filled] = np.arange(filled) - begins
  return segments, positions


def _chunks(offsets, seq_len):
  """Returns (starts, lengths) of documents cut to at most `seq_len + 1` tokens.

  Chunks of one document overlap by a token; none is shorter than two.
  """
  begins, sizes = np.asarray(offsets[:-1]), np.diff(offsets)
  counts = -(-np.maximum(sizes - 1, 0) // seq_len)
  within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
  starts = np.repeat(begins, counts) + within * seq_len
  ends = np.repeat(begins + sizes, counts)
  return starts, np.minimum(ends - starts, seq_len + 1)


def _first_fit(lengths, width):
  """Returns the bin of each chunk; bins are numbered in the order they open."""
  bins = np.empty(len(lengths), np.int64)
  room = np.zeros(_OPEN_BINS, np.int64)  # of the open bins
  number = np.full(_OPEN_BINS, -1, np.int64)
  opened = 0
  for i, length in enumerate(lengths):
    slot = int(np.argmax(room >= length))
    if room[slot] < length:
      slot = int(np.argmin(room))
      room[slot], number[slot], opened = width, opened, opened + 1
    room[slot] -= length
    bins[i] = number[slot]
  return bins


def pack(store, data, *, for_eval=False):
  """Returns the packing of `store` that `data.packing` names.

  For evaluation nothing is dropped and segments are always there. Raises DataError when
  training data is shorter than one sample.
  """
  if store.num_tokens < 2 or (not for_eval and store.num_tokens <= data.seq_len):
    raise DataError(
      f'data.seq_len={data.seq_len}: longer than the data, data.source={data.source!r}'
      f' data.split={data.split!r} has {store.num_tokens} tokens; a sample takes'
      f' seq_len + 1. Set data.seq_len to {max(1, store.num_tokens - 1)} or less.'
    )
  packing = PACKINGS[data.packing](store, data, for_eval)
  if not len(packing):
    raise DataError(
      f'data.packing={data.packing!r}: data.source={data.source!r} has only documents'
      ' of one token, which leave nothing to predict; use data.packing=concat.'
    )
  return packing


PACKINGS = {
  'concat': lambda store, data, for_eval: Concat(
    store, data.seq_len, mask_documents=data.mask_documents, keep_rest=for_eval
  ),
  'windows': lambda store, data, for_eval: (
    Concat(store, data.seq_len, keep_rest=True)
    if for_eval
    else Windows(store, data.seq_len)
  ),
  'first_fit': lambda store, data, for_eval: FirstFit(store, data.seq_len),
  'pad': lambda store, data, for_eval: Pad(store, data.seq_len),
}
