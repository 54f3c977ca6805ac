"""A source's tokens in memory-mapped files, made once and found again by fingerprint.

`CACHE/tokens-KEY/` holds `tokens.bin` (uint16, or uint32 for large vocabularies),
`offsets.bin` (int64: where each document starts, then the total) and `meta.json`. It is
written under another name and renamed when whole, so a reader never sees half of it and
two processes may build the same one at once.
"""

import array
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
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpt_jax.errors import DataError, StorageError

_FORMAT = 1
_BATCH_CHARS = 8 << 20  # text in memory at once


@dataclasses.dataclass(frozen=True)
class TokenStore:
  """Tokens of one split of one source, documents one after another."""

  tokens: np.ndarray  # uint16 or uint32 [total], memory-mapped
  offsets: np.ndarray  # int64 [documents + 1]

  @property
  def num_tokens(self):
    return len(self.tokens)

  @property
  def num_documents(self):
    return len(self.offsets) - 1


def open_tokens(source, tokenizer, *, append_eos, cache_dir, show_progress=True):
  """Returns the `TokenStore` of `source` under `tokenizer`, made now or read again.

  Documents without text are left out. Raises DataError when no token is left or a token
  does not fit the vocabulary, StorageError when `cache_dir` cannot be written.
  """
  key = _key(source, tokenizer, append_eos)
  folder = pathlib.Path(cache_dir) / f'tokens-{key}'
  if not (folder / 'meta.json').exists():
    _build(source, tokenizer, append_eos, folder, show_progress)
  meta = json.loads((folder / 'meta.json').read_text())
  return TokenStore(
    tokens=_mapped(folder / 'tokens.bin', meta['dtype']),
    offsets=_mapped(folder / 'offsets.bin', np.int64),
  )


def _mapped(path, dtype):
  # A plain array over the map: slicing np.memmap itself takes several times as long.
  return np.memmap(path, dtype, 'r').view(np.ndarray)


def _key(source, tokenizer, append_eos):
  described = [_FORMAT, source.fingerprint, tokenizer.fingerprint, append_eos]
  return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]


def _build(source, tokenizer, append_eos, folder, show_progress):
  fresh = folder.with_name(f'{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}')
  try:
    fresh.mkdir(parents=True)
    _write(source, tokenizer, append_eos, fresh, show_progress)
    fresh.rename(folder)
  except OSError as error:
    # Another process may have been first: then its files are as good as ours.
    if not (folder / 'meta.json').exists():
      raise StorageError(
        f'data.cache_dir: cannot write tokens to {folder.parent}: {error}; set it to a'
        ' folder with room that can be written.'
      ) from error
  finally:
    shutil.rmtree(fresh, ignore_errors=True)


def _write(source, tokenizer, append_eos, folder, show_progress):
  """Writes the three files, holding a few MB of text at a time."""
  dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
  end = [tokenizer.eos_id] if append_eos and tokenizer.eos_id is not None else []
  end = np.array(end, dtype)
  offsets, total, started = array.array('q', [0]), 0, time.monotonic()
  with (
    open(folder / 'tokens.bin', 'wb') as file,
    _Progress(source, show_progress) as progress,
  ):
    for document, is_last, ids in _encoded(source, tokenizer, progress):
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
  meta = {
    'dtype': np.dtype(dtype).name,
    'tokens': total,
    'documents': len(offsets) - 1,
    'source': source.fingerprint,
    'tokenizer': tokenizer.fingerprint,
    'append_eos': append_eos,
  }
  (folder / 'meta.json').write_text(json.dumps(meta, indent=2))
  logging.info(
    'tokenized %s: %d documents, %d tokens, %.1f s',
    *(_named(source), len(offsets) - 1, total, time.monotonic() - started),
  )


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


def _encoded(source, tokenizer, progress):
  """Yields (document, whether its last part, ids) in order."""
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
      progress.advance(part)


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
    if hasattr(source, 'pieces'):
      pieces = source.pieces(document)
    else:
      fields = source[document]
      pieces = iter([fields['tokens'] if 'tokens' in fields else fields['text']])
    waiting = next(pieces, None)
    for piece in pieces:
      yield document, False, waiting
      waiting = piece
    if waiting is not None:
      yield document, True, waiting


class _Progress:
  """A bar in bytes on a terminal; nothing elsewhere."""

  def __init__(self, source, show):
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    self._bar = Progress(
      console=console, transient=True, disable=not (show and sys.stderr.isatty())
    )
    total = getattr(source, 'num_bytes', None)
    self._task = self._bar.add_task(f'tokenizing {_named(source)}', total=total)

  def __enter__(self):
    self._bar.start()
    return self

  def __exit__(self, *error):
    self._bar.stop()

  def advance(self, part):
    self._bar.advance(self._task, len(part))
