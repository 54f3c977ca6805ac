"""The tokens of a prepared corpus: many files, read a stretch at a time as one.

Memory and start-up grow with the number of shards, not of tokens: of a shard there are
its place, and once it is read a CRC-32 for each 64 KiB of tokens.
"""

import dataclasses
import hashlib
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.data import fields
from gpt_jax.data.checksums import BLOCK_BYTES
from gpt_jax.data.range_reader import reader_of

_OFFSETS_BETWEEN_MARKS = BLOCK_BYTES // 8


@dataclasses.dataclass(frozen=True)
class ShardPart:
  """One split in one shard."""

  folder: pathlib.Path
  split: str
  tokens: int
  documents: int
  files: Mapping[str, Any]  # name -> {bytes, sha256}

  def path(self, name):
    return self.folder / f'{self.split}.{name}.bin'


class ShardColumn:
  """The values of one array, shard after shard: one for each token, or `lengths`."""

  def __init__(self, parts, name, dtype, reader, lengths=None):
    self._parts, self._name, self._dtype = parts, name, np.dtype(dtype)
    self._reader = reader
    self._lengths = lengths or [part.tokens for part in parts]
    self._starts = np.cumsum([0, *self._lengths], dtype=np.int64)
    self._checks = {}  # shard -> (sums, whether each block has been compared)

  def __len__(self):
    return int(self._starts[-1])

  def read(self, start, stop):
    """Returns values `start` to `stop`; DataError where they are not as written."""
    start, stop = int(start), int(min(stop, self._starts[-1]))
    shard = int(np.searchsorted(self._starts, start, side='right')) - 1
    found = []
    while start < stop:
      first, end = int(self._starts[shard]), int(self._starts[shard + 1])
      found.append(self.read_in(shard, start - first, min(stop, end) - first))
      start, shard = end, shard + 1
    if len(found) == 1:
      return found[0]
    return np.concatenate(found) if found else np.zeros(0, self._dtype)

  def read_in(self, shard, start, stop):
    """Returns values `start` to `stop` of one shard, as `read` does."""
    width, part = self._dtype.itemsize, self._parts[shard]
    if shard not in self._checks:
      sums = read_small(part, f'{self._name}.checks', np.uint32, self._reader)
      self._checks[shard] = sums, np.zeros(len(sums), bool)
    sums, is_compared = self._checks[shard]
    begin, end = start * width, stop * width
    first, last = begin // BLOCK_BYTES, -(-end // BLOCK_BYTES)
    path = part.path(self._name)
    if is_compared[first:last].all():
      return self._values(path, begin, end)
    offset = first * BLOCK_BYTES
    total = min(last * BLOCK_BYTES, self._lengths[shard] * width)
    content = self._bytes(path, offset, total)
    for block in range(first, last):
      within = (block - first) * BLOCK_BYTES
      if zlib.crc32(content[within : within + BLOCK_BYTES]) != sums[block]:
        raise damaged(path, f'bytes from {block * BLOCK_BYTES} on are not as written')
      is_compared[block] = True  # idempotent, so threads need no lock
    return np.frombuffer(content[begin - offset : end - offset], self._dtype)

  def _values(self, path, begin, end):
    return np.frombuffer(self._bytes(path, begin, end), self._dtype)

  def _bytes(self, path, begin, end):
    try:
      content = self._reader(path, begin, end - begin)
    except OSError as error:
      raise damaged(path, f'cannot be read ({error.strerror or error})') from error
    if len(content) != end - begin:
      raise damaged(path, 'is too short')
    return content


@dataclasses.dataclass(frozen=True)
class AbsentColumn:
  """A field that no shard has: the same value everywhere."""

  value: int

  def read(self, start, stop):
    return np.full(stop - start, self.value, np.int32)


class ShardedStore:
  """What `token_cache.TokenStore` is, of the shards of one split."""

  skipped: tuple[str, ...] = ()

  def __init__(self, parts, dtype, dtypes, reader=None):
    """`dtypes`: {field: its type}."""
    self._parts = list(parts)
    self._reader = reader or reader_of(self._parts[0].folder)
    self.reads_at_once = self._reader.requests_at_once
    self._tokens = ShardColumn(self._parts, 'tokens', dtype, self._reader)
    self.fields: dict[str, ShardColumn | AbsentColumn] = {
      name: ShardColumn(self._parts, name, kind, self._reader)
      for name, kind in dtypes.items()
    }
    self._dtype, self._dtypes = dtype, dtypes
    self._starts = np.cumsum(
      [0] + [part.tokens for part in self._parts], dtype=np.int64
    )
    counts = [part.documents + 1 for part in self._parts]
    self._offsets = ShardColumn(self._parts, 'offsets', np.int64, self._reader, counts)
    self._marks = {}  # shard -> every so many of its offsets

  @property
  def num_tokens(self):
    return len(self._tokens)

  @property
  def num_documents(self):
    return sum(part.documents for part in self._parts)

  def read(self, start, stop):
    """Returns tokens `start` to `stop`; DataError where they are not as written."""
    return self._tokens.read(start, stop)

  def with_fields(self, names):
    """As of `TokenStore`."""
    added: dict[str, ShardColumn | AbsentColumn] = {}
    for name in names:
      if name not in self.fields:
        value = fields.field(name).absent
        if value is None:
          return None
        added[name] = AbsentColumn(value)
    result = ShardedStore(self._parts, self._dtype, self._dtypes, self._reader)
    result.fields = {**self.fields, **added}
    return result

  def document_starts(self, start, stop):
    """Returns where documents begin after `start` and before `stop`, int64."""
    shard = int(np.searchsorted(self._starts, start, side='right')) - 1
    found = []
    while shard < len(self._parts) and self._starts[shard] < stop:
      first = int(self._starts[shard])
      found.append(first + self._starts_in(shard, start - first, stop - first))
      shard += 1
    return np.unique(np.concatenate(found))  # an end is the start of the next shard

  def _starts_in(self, shard, start, stop):
    """Returns the offsets in a shard after `start` and before `stop`."""
    if shard not in self._marks:
      count = self._parts[shard].documents + 1
      marks = range(0, count, _OFFSETS_BETWEEN_MARKS)
      values = [self._offsets.read_in(shard, i, i + 1)[0] for i in marks]
      self._marks[shard] = np.array(values)
    marks, count = self._marks[shard], self._parts[shard].documents + 1
    low, high = np.searchsorted(marks, [start, stop - 1], 'right')
    begin = max(0, low - 1) * _OFFSETS_BETWEEN_MARKS
    offsets = self._offsets.read_in(
      shard, begin, min(high * _OFFSETS_BETWEEN_MARKS, count)
    )
    low, high = np.searchsorted(offsets, [start, stop - 1], 'right')
    return offsets[low:high]

  @property
  def offsets(self):
    """int64 [documents + 1], all of them: it takes memory for each document."""
    found = [
      int(self._starts[shard]) + self._offsets.read_in(shard, 0, part.documents)
      for shard, part in enumerate(self._parts)
    ]
    return np.concatenate([*found, self._starts[-1:]])


def read_small(part, name, dtype, reader):
  """Returns all values of a file beside the tokens; DataError if it is damaged."""
  path = part.path(name)
  try:
    content = reader(path, 0, part.files[path.name]['bytes'])
  except OSError as error:
    raise damaged(path, f'cannot be read ({error.strerror or error})') from error
  if hashlib.sha256(content).hexdigest() != part.files[path.name]['sha256']:
    raise damaged(path, 'is not as written')
  return np.frombuffer(content, dtype)


def damaged(path, what):
  """Returns the DataError that says `what` is wrong with a file of a shard."""
  return DataError(
    f'{path}: {what}. Copy the shard again from where it came from; or delete'
    f' {path.parent} and start `gpt-jax prepare` again, which makes it anew.'
  )
