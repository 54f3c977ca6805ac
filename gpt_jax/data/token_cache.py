"""A source's tokens in memory-mapped files, built once and found again by fingerprint.

`CACHE/tokens-KEY/` holds `tokens.bin` (uint16, or uint32 for large vocabularies),
`offsets.bin` (int64: where each document starts, then the total), `checks.bin` (the
CRC-32 of each block of tokens) and `meta.json`.
"""

import array
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import shutil
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpt_jax.core.errors import DataError, StorageError

_FORMAT = 2
_BLOCK_BYTES = 1 << 16  # of tokens.bin, for one checksum
_BATCH_CHARS = 8 << 20  # text in memory at once


@dataclasses.dataclass(frozen=True)
class TokenStore:
  """Tokens of one split of one source, documents one after another."""

  tokens: np.ndarray  # uint16 or uint32 [total], memory-mapped
  offsets: np.ndarray  # int64 [documents + 1]
  checksums: 'BlockChecksums | None' = None  # None: tokens that came from no file
  skipped: tuple[str, ...] = ()  # place and reason of each record left out

  def read(self, start, stop):
    """Returns tokens `start` to `stop`; DataError where they are not as written."""
    if self.checksums is not None:
      self.checksums.verify(start, stop)
    return self.tokens[start:stop]

  @property
  def num_tokens(self):
    return len(self.tokens)

  @property
  def num_documents(self):
    return len(self.offsets) - 1


class BlockChecksums:
  """CRC-32 of the blocks of a token file; each is compared once, at its first use."""

  def __init__(self, path, tokens, sums):
    self._path, self._sums = path, sums
    self._bytes, self._width = tokens.view(np.uint8), tokens.itemsize
    self._is_verified = np.zeros(len(sums), bool)

  def verify(self, start, stop):
    first = start * self._width // _BLOCK_BYTES
    last = -(-stop * self._width // _BLOCK_BYTES)
    if self._is_verified[first:last].all():
      return
    for block in range(first, last):
      begin = block * _BLOCK_BYTES
      content = self._bytes[begin : begin + _BLOCK_BYTES]
      if zlib.crc32(content) != self._sums[block]:
        raise _damaged(
          self._path,
          f'tokens {begin // self._width} to'
          f' {(begin + len(content)) // self._width - 1} are not as written',
        )
      self._is_verified[block] = True  # idempotent, so threads need no lock


def _damaged(path, what):
  return DataError(
    f'{path}: {what}. It is a copy of the source: delete {path.parent}, and the next'
    ' start builds it again.'
  )


def open_tokens(
  source, tokenizer, *, append_eos, cache_dir, max_corrupt_records=0, show_progress=True
):
  """Returns the `TokenStore` of `source` under `tokenizer`, built where it is missing.

  Documents without text are left out. Raises DataError when no token is left, a token
  lies outside the vocabulary, the files are damaged or more than `max_corrupt_records`
  records were left out; StorageError when `cache_dir` cannot be written.
  """
  key = _key(source, tokenizer, append_eos)
  folder = pathlib.Path(cache_dir) / f'tokens-{key}'
  if not os.path.exists(folder):  # unlike Path.exists, False where a name is too long
    _build(source, tokenizer, append_eos, folder, show_progress)
  meta = _read_meta(folder / 'meta.json')
  skipped = tuple(meta['skipped'])
  if len(skipped) > max_corrupt_records:
    listed = '\n'.join(f'  {reason}' for reason in skipped)
    raise DataError(
      f'data.max_corrupt_records={max_corrupt_records}: {folder} was built without'
      f' {len(skipped)} damaged record(s):\n{listed}\nAllow as many, or replace these'
      ' files by good copies.'
    )
  tokens = _mapped(folder / 'tokens.bin', meta['dtype'], meta['tokens'])
  offsets = _mapped(folder / 'offsets.bin', np.int64, meta['documents'] + 1)
  blocks = -(-tokens.nbytes // _BLOCK_BYTES)
  sums = _mapped(folder / 'checks.bin', np.uint32, blocks)
  for name, values in (('offsets.bin', offsets), ('checks.bin', sums)):
    if zlib.crc32(values.tobytes()) != meta['crc32'][name]:
      raise _damaged(folder / name, 'is not as written')
  checksums = BlockChecksums(folder / 'tokens.bin', tokens, sums)
  return TokenStore(tokens, offsets, checksums, skipped)


def _read_meta(path):
  try:
    meta = json.loads(path.read_text())
    if meta.pop('self_crc32') == _crc32_of(meta):
      return meta
  except (OSError, ValueError, KeyError, AttributeError):
    pass
  raise _damaged(path, 'is not as written')


def _crc32_of(meta):
  return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _mapped(path, dtype, length):
  try:
    # A plain array over the map: slicing np.memmap itself takes several times as long.
    values = np.memmap(path, dtype, 'r').view(np.ndarray)
  except (OSError, ValueError) as error:
    raise _damaged(path, f'cannot be read ({error})') from error
  if len(values) != length:
    raise _damaged(path, f'has {len(values)} values instead of {length}')
  return values


def _key(source, tokenizer, append_eos):
  described = [_FORMAT, source.fingerprint, tokenizer.fingerprint, append_eos]
  return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]


def _build(source, tokenizer, append_eos, folder, show_progress):
  # Under another name, then renamed: two processes may build the same folder at once.
  fresh = folder.with_name(f'{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}')
  try:
    fresh.mkdir(parents=True)
    _write(source, tokenizer, append_eos, fresh, show_progress)
    fresh.rename(folder)
  except OSError as error:
    # Another process may have been first: then its files are the same as ours.
    if not os.path.exists(folder / 'meta.json'):
      raise StorageError(
        f'data.cache_dir: cannot write tokens to {folder.parent}: {error.strerror};'
        ' set it to a folder that can be written and has free space.'
      ) from error
  finally:
    shutil.rmtree(fresh, ignore_errors=True)


def _write(source, tokenizer, append_eos, folder, show_progress):
  dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
  end = [tokenizer.eos_id] if append_eos and tokenizer.eos_id is not None else []
  end = np.array(end, dtype)
  offsets, total, started = array.array('q', [0]), 0, time.monotonic()
  with (
    open(folder / 'tokens.bin', 'wb') as file,
    _progress(source, show_progress) as advance,
  ):
    for document, is_last, ids in _encoded(source, tokenizer, advance):
      _check_range(ids, tokenizer, source, document, total - offsets[-1])
      file.write(ids.astype(dtype).tobytes())
      total += len(ids)
      if is_last and total > offsets[-1]:
        file.write(end.tobytes())
        total += len(end)
        offsets.append(total)
  if not total:
    raise DataError(
      f'{_named(source)}: no tokens; the documents of this split are empty.'
    )
  (folder / 'offsets.bin').write_bytes(offsets.tobytes())
  sums = _sums(folder / 'tokens.bin')
  (folder / 'checks.bin').write_bytes(sums.tobytes())
  meta = {
    'dtype': np.dtype(dtype).name,
    'tokens': total,
    'documents': len(offsets) - 1,
    'source': source.fingerprint,
    'tokenizer': tokenizer.fingerprint,
    'append_eos': append_eos,
    'skipped': list(source.skipped.values()),
    'crc32': {
      'offsets.bin': zlib.crc32(offsets.tobytes()),
      'checks.bin': zlib.crc32(sums.tobytes()),
    },
  }
  meta['self_crc32'] = _crc32_of(meta)
  (folder / 'meta.json').write_text(json.dumps(meta, indent=2))
  logging.info(
    'tokenized %s: %d documents, %d tokens, %.1f s',
    *(_named(source), len(offsets) - 1, total, time.monotonic() - started),
  )


def _sums(path):
  with open(path, 'rb') as file:
    blocks = iter(lambda: file.read(_BLOCK_BYTES), b'')
    return np.array([zlib.crc32(block) for block in blocks], np.uint32)


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


def _encoded(source, tokenizer, advance):
  for parts in _batches(source):
    texts = [part for _, _, part in parts if isinstance(part, str)]
    try:
      encoded = iter(tokenizer.encode_batch(texts))
    except DataError as error:
      raise DataError(
        f'{_named(source)}, documents from {parts[0][0]}: {error}'
      ) from error
    for document, is_last, part in parts:
      yield document, is_last, next(encoded) if isinstance(part, str) else part
      advance(part)


def _batches(source):
  """Yields lists of (document, whether its last part, text or ids) of about 8 MB."""
  batch, size = [], 0
  for document, is_last, part in _parts(source):
    batch.append((document, is_last, part))
    size += len(part)
    if size >= _BATCH_CHARS:
      yield batch
      batch, size = [], 0
  if batch:
    yield batch


def _parts(source) -> Iterator[tuple[int, bool, Any]]:
  for document in range(len(source)):
    pieces = source.pieces(document)
    waiting = next(pieces, None)
    for piece in pieces:
      yield document, False, waiting
      waiting = piece
    if waiting is not None:
      yield document, True, waiting


@contextlib.contextmanager
def _progress(source, show):
  """Yields `advance(part)`, which moves a bar on a terminal, nothing elsewhere."""
  from rich.console import Console
  from rich.progress import Progress

  is_shown = show and sys.stderr.isatty()
  bar = Progress(console=Console(stderr=True), transient=True, disable=not is_shown)
  task = bar.add_task(f'tokenizing {_named(source)}', total=source.num_bytes)
  with bar:
    yield lambda part: bar.advance(task, len(part))
