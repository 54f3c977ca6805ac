"""Writes the files of the token cache: documents tokenized in batches of texts."""

import array
import contextlib
import itertools
import json
import logging
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpt_jax.core import progress
from gpt_jax.core.errors import DataError
from gpt_jax.data import checksums, documents, fields, long_texts

_BATCH_CHARS = 8 << 20  # text in memory at once


def write(
  source, tokenizer, append_eos, folder, show_progress, *,
  with_bytes=False, begin_token='',
):  # fmt: skip
  """Writes tokens, offsets, fields, their checksums and meta.json into `folder`.

  `with_bytes`: with the field `bytes`, how many of the text each token accounts for.
  `begin_token`: a special token to begin each document with.
  """
  fields.check(source.fields)
  names = (*source.fields, *(('bytes',) if with_bytes else ()))
  dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
  end = [tokenizer.eos_id] if append_eos and tokenizer.eos_id is not None else []
  begin = [tokenizer.special_id(begin_token)] if begin_token else []
  offsets, started = array.array('q', [0]), time.monotonic()
  label = f'tokenizing {_named(source)}'
  with (
    progress.shown(label, source.num_bytes, show_progress) as advance,
    _Files(folder, dtype, names) as files,
  ):
    lengths = []  # of the pieces of the present document
    encoded = _encoded(source, tokenizer, advance, with_bytes)
    for number, is_last, piece, ids, num_bytes in encoded:
      position = files.num_tokens - offsets[-1]
      _check_range(ids, tokenizer, source, number, position)
      if len(begin) and len(ids) and not position:
        files.add_tokens(np.array(begin, dtype))
        if with_bytes:
          files.add_bytes(np.zeros(len(begin)))
      files.add_tokens(ids)
      if with_bytes:
        files.add_bytes(tokenizer.byte_lengths[ids] if num_bytes is None else num_bytes)
      if source.fields:  # texts without are not kept until their document ends
        lengths.append((piece, len(ids)))
      if is_last and files.num_tokens > offsets[-1]:
        files.add_tokens(np.array(end, dtype))
        if with_bytes:
          files.add_bytes(np.zeros(len(end)))
        files.add_fields(source.fields, lengths, bool(begin), bool(end))
        offsets.append(files.num_tokens)
      if is_last:
        lengths = []
  if not files.num_tokens:
    raise DataError(
      f'{_named(source)}: no tokens; the documents of this split are empty.'
    )
  (folder / 'offsets.bin').write_bytes(offsets.tobytes())
  meta = {
    'dtype': np.dtype(dtype).name,
    'tokens': files.num_tokens,
    'documents': len(offsets) - 1,
    'source': source.fingerprint,
    'tokenizer': tokenizer.fingerprint,
    'append_eos': append_eos,
    'begin_token': begin_token,
    'skipped': list(source.skipped.values()),
    'fields': {name: fields.field(name).dtype.__name__ for name in names},
    'crc32': {'offsets.bin': zlib.crc32(offsets.tobytes()), **files.write_checksums()},
  }
  meta['self_crc32'] = crc32_of(meta)
  (folder / 'meta.json').write_text(json.dumps(meta, indent=2))
  logging.info(
    'tokenized %s: %d documents, %d tokens, %.1f s',
    *(_named(source), len(offsets) - 1, files.num_tokens, time.monotonic() - started),
  )


def crc32_of(meta):
  """Returns the checksum of the content of meta.json."""
  return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


class _Files:
  """The files of tokens and fields, open for writing; a context manager."""

  def __init__(self, folder, dtype, names):
    self._folder, self._dtype, self._stack = folder, dtype, contextlib.ExitStack()
    self._files = {
      name: self._stack.enter_context(open(folder / f'{name}.bin', 'wb'))
      for name in ('tokens', *names)
    }
    self.num_tokens = 0

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self._stack.close()

  def add_tokens(self, ids):
    self._files['tokens'].write(ids.astype(self._dtype).tobytes())
    self.num_tokens += len(ids)

  def add_bytes(self, num_bytes):
    dtype = fields.field('bytes').dtype
    self._files['bytes'].write(num_bytes.astype(dtype).tobytes())

  def add_fields(self, names, lengths, has_begin, has_end):
    for name in names:
      values = documents.aligned(name, lengths, has_end, has_begin)
      self._files[name].write(values.tobytes())

  def write_checksums(self):
    """Writes the sums of each file's blocks; returns {their file: its crc32}."""
    result = {}
    for name in self._files:
      sums = checksums.of_file(self._folder / f'{name}.bin').tobytes()
      sums_name = 'checks.bin' if name == 'tokens' else f'{name}.checks.bin'
      (self._folder / sums_name).write_bytes(sums)
      result[sums_name] = zlib.crc32(sums)
    return result


def _named(source):
  fields = source.fingerprint
  return f'data.source={fields["source"]!r} data.split={fields["split"]!r}'


def _check_range(ids, tokenizer, source, document, position):
  bad = (ids < 0) | (ids >= tokenizer.vocab_size)
  if bad.any():
    where = int(np.argmax(bad))
    raise DataError(
      f'{_named(source)}: token {int(ids[where])} at position {position + where} of'
      f' document {document} is outside the vocabulary (0..{tokenizer.vocab_size - 1}).'
    )


def _encoded(source, tokenizer, advance, with_bytes):
  """Yields (document, whether its last part, Piece, ids, their bytes or None)."""
  for batch, is_long in _batches(source, tokenizer):
    if is_long:
      ((number, pieces),) = batch
      yield from _encoded_long(source, tokenizer, number, pieces, advance)
      continue
    texts = [
      piece.content
      for _, pieces in batch
      for piece in pieces
      if isinstance(piece.content, str)
    ]
    try:
      encoded = iter(_encode(tokenizer, texts, with_bytes))
    except DataError as error:
      raise DataError(
        f'{_named(source)}, documents from {batch[0][0]}: {error}'
      ) from error
    for number, pieces in batch:
      for i, piece in enumerate(pieces, start=1):
        is_text = isinstance(piece.content, str)
        ids, num_bytes = next(encoded) if is_text else (piece.content, None)
        yield number, i == len(pieces), piece, ids, num_bytes
        advance(len(piece.content))


def _encode(tokenizer, texts, with_bytes):
  if with_bytes:
    return tokenizer.encode_with_bytes(texts)
  return [(ids, None) for ids in tokenizer.encode_batch(texts)]


def _encoded_long(source, tokenizer, number, pieces, advance):
  def read():
    for piece in pieces:
      yield piece.content
      advance(len(piece.content))

  place = f'{_named(source)}, {source.place(number) or f"document {number}"}'
  whole = documents.Piece('')
  for ids, num_bytes in long_texts.encode(tokenizer, read(), place):
    yield number, False, whole, ids, num_bytes
  yield number, True, whole, np.zeros(0, np.int32), np.zeros(0, np.int32)


def _batches(source, tokenizer) -> Iterator[tuple[list[tuple[int, Any]], bool]]:
  """Yields ([(document, its Pieces), ...] of about 8 MB, whether it is a long text).

  A text that comes in pieces is one by itself, its Pieces an iterator.
  """
  batch, size = [], 0
  for number in range(len(source)):
    pieces = documents.pieces(source, number, tokenizer)
    start = list(itertools.islice(pieces, 2))
    if len(start) == 2 and not source.fields:
      if batch:
        yield batch, False
      yield [(number, itertools.chain(start, pieces))], True
      batch, size = [], 0
      continue
    whole = [*start, *pieces]
    batch.append((number, whole))
    size += sum(len(piece.content) for piece in whole)
    if size >= _BATCH_CHARS:
      yield batch, False
      batch, size = [], 0
  if batch:
    yield batch, False
