"""A source's tokens in memory-mapped files, built once and found again by fingerprint.

`CACHE/tokens-KEY/` holds `tokens.bin` (uint16, or uint32 for large vocabularies),
`offsets.bin` (int64: where each document starts, then the total), `checks.bin` (the
CRC-32 of each block of tokens), a `FIELD.bin` with a `FIELD.checks.bin` for each field
of the source, and `meta.json`. `token_build.py` writes them.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import uuid
import zlib
from collections.abc import Mapping

import numpy as np

from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.data import fields, token_build
from gpt_jax.data.checksums import BLOCK_BYTES, BlockChecksums, damaged
from gpt_jax.storage import scratch, scratch_space

_FORMAT = 2


@dataclasses.dataclass(frozen=True)
class Column:
  """The values of one field of all tokens."""

  values: np.ndarray  # [total]
  checksums: BlockChecksums | None = None  # None: values that came from no file

  def read(self, start, stop):
    """Returns values `start` to `stop`; DataError where they are not as written."""
    if self.checksums is not None:
      self.checksums.verify(start, stop)
    return self.values[start:stop]


@dataclasses.dataclass(frozen=True)
class TokenStore:
  """Tokens of one split of one source, documents one after another, and its fields."""

  tokens: np.ndarray  # uint16 or uint32 [total], memory-mapped
  offsets: np.ndarray  # int64 [documents + 1]
  checksums: BlockChecksums | None = None  # None: tokens that came from no file
  skipped: tuple[str, ...] = ()  # place and reason of each record left out
  fields: Mapping[str, Column] = dataclasses.field(default_factory=dict)
  reads_at_once: int = 1

  def read(self, start, stop):
    """Returns tokens `start` to `stop`; DataError where they are not as written."""
    if self.checksums is not None:
      self.checksums.verify(start, stop)
    return self.tokens[start:stop]

  def with_fields(self, names):
    """Returns a store that has all of `names`; None where one has no default.

    A field that is not there has its value `absent` everywhere.
    """
    added = {}
    for name in names:
      if name not in self.fields:
        value = fields.field(name).absent
        if value is None:
          return None
        added[name] = Column(np.broadcast_to(np.int32(value), len(self.tokens)))
    return dataclasses.replace(self, fields={**self.fields, **added})

  def document_starts(self, start, stop):
    """Returns where documents begin after `start` and before `stop`, int64."""
    first, last = np.searchsorted(self.offsets, [start, stop - 1], side='right')
    return self.offsets[first:last]

  @property
  def num_tokens(self):
    return len(self.tokens)

  @property
  def num_documents(self):
    return len(self.offsets) - 1


def open_tokens(
  source, tokenizer, *, append_eos, cache_dir, max_corrupt_records=0,
  show_progress=True, with_bytes=False, begin_token='',
):  # fmt: skip
  """Returns the `TokenStore` of `source` under `tokenizer`, built where it is missing.

  `begin_token`: the special token before each document, '' for none. `with_bytes`: with
  the field `bytes`, the bytes of the text that each token accounts
  for, where `byte_lengths` of the tokenizer are not exact. Documents without text are
  left out. Raises DataError when no token is left, a token lies outside the vocabulary,
  the files are damaged or more than `max_corrupt_records` records were left out;
  StorageError when `cache_dir` cannot be written.
  """
  with_bytes &= not tokenizer.has_exact_bytes and 'bytes' not in source.fields
  key = _key(source, tokenizer, append_eos, with_bytes, begin_token)
  folder = pathlib.Path(cache_dir) / f'tokens-{key}'
  is_bounded = folder.parent == scratch.folder('tokens')  # of a run in a bucket
  if is_bounded:
    scratch_space.claim([folder])
  if not os.path.exists(folder):  # unlike Path.exists, False where a name is too long
    if is_bounded:  # at 4 bytes of text and 2 of memory for each token
      what = f'tokens of data.split={source.fingerprint["split"]!r}'
      scratch_space.reserve((source.num_bytes or 0) // 2, what)
    options = dict(
      show_progress=show_progress, with_bytes=with_bytes, begin_token=begin_token
    )
    _build(source, tokenizer, append_eos, folder, options)
  meta = _read_meta(folder / 'meta.json')
  skipped = tuple(meta['skipped'])
  if len(skipped) > max_corrupt_records:
    listed = '\n'.join(f'  {reason}' for reason in skipped)
    raise DataError(
      f'data.max_corrupt_records={max_corrupt_records}: {folder} was built without'
      f' {len(skipped)} damaged record(s):\n{listed}\nAllow as many, or replace these'
      ' files by good copies.'
    )
  offsets = _mapped(folder / 'offsets.bin', np.int64, meta['documents'] + 1)
  _check_crc32(folder / 'offsets.bin', offsets, meta)
  columns = {
    name: Column(*_checked(folder, name, f'{name}.checks.bin', dtype, meta))
    for name, dtype in meta.get('fields', {}).items()
  }
  tokens, checksums = _checked(folder, 'tokens', 'checks.bin', meta['dtype'], meta)
  return TokenStore(tokens, offsets, checksums, skipped, columns)


def _checked(folder, name, sums_name, dtype, meta):
  """Returns (values, BlockChecksums) of `NAME.bin`, one value a token."""
  path = folder / f'{name}.bin'
  values = _mapped(path, dtype, meta['tokens'])
  blocks = -(-values.nbytes // BLOCK_BYTES)
  sums = _mapped(folder / sums_name, np.uint32, blocks)
  _check_crc32(folder / sums_name, sums, meta)
  return values, BlockChecksums(path, values, sums)


def _check_crc32(path, values, meta):
  if zlib.crc32(values.tobytes()) != meta['crc32'][path.name]:
    raise damaged(path, 'is not as written')


def _read_meta(path):
  try:
    meta = json.loads(path.read_text())
    if meta.pop('self_crc32') == token_build.crc32_of(meta):
      return meta
  except (OSError, ValueError, KeyError, AttributeError):
    pass
  raise damaged(path, 'is not as written')


def _mapped(path, dtype, length):
  try:
    # A plain array over the map: slicing np.memmap itself takes several times as long.
    values = np.memmap(path, dtype, 'r').view(np.ndarray)
  except (OSError, ValueError) as error:
    raise damaged(path, f'cannot be read ({error})') from error
  if len(values) != length:
    raise damaged(path, f'has {len(values)} values instead of {length}')
  return values


def _key(source, tokenizer, append_eos, with_bytes, begin_token):
  described = [_FORMAT, source.fingerprint, tokenizer.fingerprint, append_eos]
  if source.fields or with_bytes:
    described.append([*source.fields, *(['bytes'] if with_bytes else [])])
  if begin_token:
    described.append({'begin_token': begin_token})
  return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]


def _build(source, tokenizer, append_eos, folder, options):
  # Under another name, then renamed: two processes may build the same folder at once.
  fresh = folder.with_name(f'{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}')
  try:
    fresh.mkdir(parents=True)
    token_build.write(source, tokenizer, append_eos, fresh, **options)
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
