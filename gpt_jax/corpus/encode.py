"""Documents to tokens of a shard: short ones many at a time, long ones in pieces."""

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.corpus.shard_files import SplitFiles
from gpt_jax.corpus.shard_report import count_words
from gpt_jax.data import documents, fields, long_texts, text_source

_BATCH_BYTES = 1 << 20  # of text at once
_GROUP_CHARS = 2 << 20  # of a long document; several processes share the memory


def write(job, folder, names, kept, report):
  """Writes the documents `kept` into `folder`; returns {split: SplitRecord}.

  `names`: the fields of the documents. Splits without documents have no files.
  """
  writer = _Writer(job, folder, names, report)
  try:
    for one in kept:
      writer.add(one)
    return writer.close()
  finally:
    writer.abandon()


class _Writer:
  """The files of all splits of a shard, and the texts that wait for a batch."""

  def __init__(self, job, folder, names, report):
    self._tokenizer, self._folder = job.tokenizer, folder
    self._fields, self._report = names, report
    self._dtype = np.dtype(dtype_of(job.tokenizer))
    has_end = job.append_eos and job.tokenizer.eos_id is not None
    self._end = np.array([job.tokenizer.eos_id] if has_end else [], self._dtype)
    self._files = {}
    self._batch, self._batch_bytes = [], 0

  def add(self, kept):
    content = kept.record.content
    if self._fields:
      ((split, _, _),) = kept.stretches
      self._add_fields(split, kept.record)
    elif isinstance(content, np.ndarray):
      ((split, _, _),) = kept.stretches
      _check_range(content, self._tokenizer, kept.record.place)
      self._open(split).add(content)
      self._finish(split, kept.record.place, content.nbytes, 0)
    elif len(content) <= _BATCH_BYTES:
      for split, start, end in kept.stretches:
        piece = bytes(content[start:end])
        self._batch.append((split, kept.record.place, piece))
        self._batch_bytes += len(piece)
      if self._batch_bytes >= _BATCH_BYTES:
        self._flush()
    else:
      self._flush()
      for split, start, end in kept.stretches:
        self._add_long(split, kept.record, start, end)

  def _open(self, split):
    if split not in self._files:
      names = self._fields + (('bytes',) if self._counts_bytes(split) else ())
      self._files[split] = SplitFiles(self._folder, split, self._dtype, names)
    return self._files[split]

  def _counts_bytes(self, split):
    # What evaluation needs; training has no use for it.
    return split != 'train' and not self._tokenizer.has_exact_bytes

  def _flush(self):
    for counts in (False, True):
      mine = [one for one in self._batch if self._counts_bytes(one[0]) == counts]
      for (split, place, piece), (ids, sizes) in zip(
        mine, _encode(self._tokenizer, mine, counts), strict=True
      ):
        self._open(split).add(ids, sizes)
        self._finish(split, place, len(piece), count_words(piece))
    self._batch, self._batch_bytes = [], 0

  def _add_long(self, split, record, start, end):
    file, counts = self._open(split), self._counts_bytes(split)
    pieces = text_source.decoded(record.content, start, end, lambda: record.place)
    encoded = long_texts.encode(self._tokenizer, pieces, record.place, _GROUP_CHARS)
    for ids, sizes in encoded:
      file.add(ids, sizes if counts else None)
    words = sum(
      count_words(record.content[i : min(i + _BATCH_BYTES, end)])
      for i in range(start, end, _BATCH_BYTES)
    )
    self._finish(split, record.place, end - start, words)

  def _add_fields(self, split, record):
    file, lengths = self._open(split), []
    num_bytes = num_words = 0
    for piece in documents.pieces_of(
      record.document, self._fields, None, record.place, self._tokenizer
    ):
      ids, sizes = piece.content, np.zeros(len(piece.content))
      if isinstance(piece.content, str):
        ((ids, sizes),) = self._tokenizer.encode_with_bytes([piece.content])
        text = piece.content.encode()
        num_bytes, num_words = num_bytes + len(text), num_words + count_words(text)
      else:
        _check_range(ids, self._tokenizer, record.place)
      file.add(ids, sizes if self._counts_bytes(split) else None)
      lengths.append((piece, len(ids)))
    if not file.document_tokens:
      return
    for name in self._fields:
      values = documents.aligned(name, lengths, bool(len(self._end)))
      file.add_field(name, values)
    self._finish(split, record.place, num_bytes, num_words)

  def _finish(self, split, place, num_bytes, num_words):
    file = self._files[split]
    if not file.document_tokens:
      return
    sizes = np.zeros(len(self._end)) if self._counts_bytes(split) else None
    file.add(self._end, sizes)
    self._report.written(split, place, file.end_document(num_bytes), num_words)

  def close(self):
    self._flush()
    written = {split: file.close() for split, file in sorted(self._files.items())}
    self._files = {}
    return {split: record for split, record in written.items() if record.documents}

  def abandon(self):
    for file in self._files.values():
      file.abandon()


def _encode(tokenizer, batch, with_bytes):
  """Returns [(ids, their bytes or None)] of the texts of a batch."""
  texts = [str(piece, 'utf-8') for _, _, piece in batch]
  try:
    if with_bytes:
      return tokenizer.encode_with_bytes(texts)
    return [(ids, None) for ids in tokenizer.encode_batch(texts)]
  except DataError as error:
    raise DataError(f'{batch[0][1]} to {batch[-1][1]}: {error}') from error


def _check_range(ids, tokenizer, place):
  if len(ids) and not 0 <= ids.min() <= ids.max() < tokenizer.vocab_size:
    raise DataError(
      f'{place}: has ids from {ids.min()} to {ids.max()}, outside the vocabulary'
      f' (0..{tokenizer.vocab_size - 1}).'
    )


def dtype_of(tokenizer):
  """Returns the name of the type of its tokens on disk."""
  return 'uint16' if tokenizer.vocab_size <= 1 << 16 else 'uint32'


def dtypes_of(names):
  """Returns {field: name of its type on disk}."""
  return {name: np.dtype(fields.field(name).dtype).name for name in names}
