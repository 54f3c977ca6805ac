"""`data.source=prepared`: a corpus that `gpt-jax prepare` has tokenized.

`data.path` is its folder, `data.split` one of its splits, `validation+test` or `all`;
`data.name` is one member of a mixture, '' all of them. The tokenizer comes with it.
"""

import hashlib
import os

import numpy as np

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.core.registry import nearest
from gpt_jax.data import files, manifest, records, tokenizers
from gpt_jax.data.fields import known_fields
from gpt_jax.data.sharded_store import ShardedStore, ShardPart, damaged
from gpt_jax.data.source import Source
from gpt_jax.storage import objects
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote, is_url


class Prepared(Source):
  """One split of a prepared corpus; its documents are tokens already."""

  def __init__(self, folder, data):
    self._folder, self._data = folder, data
    self._manifest = found = _read(folder)
    names = _splits(found, data, folder)
    parts = [
      (name, number, record)
      for name in names
      for number, record in found.parts(name, data.name)
    ]
    self._parts = [
      _part(folder, name, number, record) for name, number, record in parts
    ]
    self._records = [record for _, _, record in parts]
    self.tokenizer_folder = folder / 'tokenizer'
    self.fields = tuple(found.fields)
    self.num_labels = _num_labels(found, data)
    if found.tokenizer['name'] == 'ids':
      self.vocab_size = found.tokenizer['vocab_size']
    self.num_bytes = sum(record.num_bytes for record in self._records)
    self.fingerprint = {
      'source': data.source,
      'split': data.split,
      'shards': len(parts),
      'tokens': sum(record.tokens for record in self._records),
      'content': _digest(parts),
    }
    if data.name:
      self.fingerprint['name'] = data.name

  def __len__(self):
    return sum(record.documents for record in self._records)

  def __getitem__(self, i):
    """Returns the text of document `i`, as far as its tokens spell it; or its ids."""
    part, first = 0, i
    while first >= self._parts[part].documents:
      first, part = first - self._parts[part].documents, part + 1
    store = ShardedStore(self._parts[part : part + 1], self._manifest.dtype, {})
    start, stop = store.offsets[first : first + 2]
    ids = store.read(start, stop).astype(np.int32)
    if self.vocab_size is not None:
      return {'tokens': ids}
    return {'text': tokenizers.load(self.tokenizer_folder).decode(ids)}

  def place(self, i):
    for part in self._parts:
      if i < part.documents:
        return f'{part.folder}, {part.split}, document {i}'
      i -= part.documents
    return ''

  def open_store(self, tokenizer, *, append_eos, with_bytes):
    """Returns the ShardedStore. Raises ConfigError for settings of another corpus."""
    found, data = self._manifest, self._data
    if found.tokenizer['fingerprint'] != tokenizer.fingerprint:
      raise ConfigError(
        f'data.path={data.path!r}: prepared under another tokenizer, a'
        f' {found.tokenizer["name"]} of {found.tokenizer["vocab_size"]} tokens, than'
        f' that of this run, a {tokenizer.name} of {tokenizer.vocab_size}; prepare the'
        ' corpus with the tokenizer of the run, or train in a new workdir.'
      )
    if found.append_eos != append_eos:
      raise ConfigError(
        f'data.append_eos={append_eos}: {self._folder} was prepared with'
        f' {found.append_eos}; set that, or prepare it again.'
      )
    dtypes = dict(found.fields)
    if with_bytes and not tokenizer.has_exact_bytes:
      if any('bytes' not in _names(record) for record in self._records):
        raise DataError(
          f'data.split={data.split!r}: {self._folder} has no bytes of tokens for that'
          ' split, which bits per byte need with this tokenizer; they are kept for'
          ' held-out splits: evaluate on one of these.'
        )
      dtypes['bytes'] = 'int32'
    _check_files(self._folder, self._parts)
    return ShardedStore(self._parts, found.dtype, dtypes)


def _read(folder):
  path = folder / manifest.MANIFEST
  try:
    text = path.read_text(encoding='utf-8')
  except (FileNotFoundError, NotADirectoryError) as error:
    expected = 'expected what `gpt-jax prepare --out=...` has written'
    what = f'no such folder; {expected}'
    if (folder / manifest.PLAN).exists():
      what = 'not finished: start the same `gpt-jax prepare` again'
    elif folder.exists():
      what = f'no {manifest.MANIFEST} there; {expected}'
    raise DataError(f'data.path={str(folder)!r}: {what}.') from error
  except (OSError, ValueError) as error:
    raise DataError(f'{path}: cannot be read: {error}') from error
  return manifest.read_manifest(text, path)


def _splits(found, data, folder):
  """Returns the names of the splits that `data.split` stands for."""
  if data.name and data.name not in found.members:
    raise DataError(
      f'data.name={data.name!r}: {folder} has'
      + (
        f' {", ".join(sorted(found.members))}.'
        if any(found.members)
        else ' one corpus;'
      )
      + (' leave data.name empty.' if not any(found.members) else '')
    )
  wanted = found.splits if data.split == 'all' else data.split.split('+')
  for name in wanted:
    if not found.parts(name, data.name):
      hint = nearest(name, found.splits)
      raise DataError(
        f'data.split={data.split!r}: {folder} has {", ".join(found.splits)}'
        + (f'; did you mean {hint!r}?' if hint else '.')
      )
  return wanted


def _part(folder, split, number, record):
  shard = folder / 'shards' / f'{number:05d}'
  return ShardPart(shard, split, record.tokens, record.documents, record.files)


def _digest(parts):
  """Returns a hash of the tokens of all parts."""
  digest = hashlib.sha256()
  for name, _, record in parts:
    for file in sorted(record.files):
      if not file.endswith('.checks.bin'):
        digest.update(f'{name} {record.files[file]["sha256"]}'.encode())
  return digest.hexdigest()[:16]


def _names(record):
  return {name.split('.')[1] for name in record.files}


def _num_labels(found, data):
  counts = [found.num_labels[data.name]] if data.name else found.num_labels.values()
  return next((count for count in counts if count), None)


def _check_files(folder, parts):
  """Raises DataError for the first file that is missing or of another size."""
  sizes = {}
  if is_remote(folder):  # one listing in place of a request for each
    sizes = {str(p): size for p, size in objects.files_below(folder / 'shards')}
  for part in parts:
    for name, facts in part.files.items():
      path = part.folder / name
      try:
        size = sizes.get(str(path)) if is_remote(folder) else os.stat(path).st_size
      except OSError:
        size = None
      if size is None:
        raise damaged(path, 'is missing')
      if size != facts['bytes']:
        raise damaged(path, f'has {size:,} bytes instead of {facts["bytes"]:,}')


@known_fields(records.declared_fields)
def make(data):
  """Returns the source of the corpus in `data.path` at `data.split`."""
  if not data.path:
    raise DataError(
      f'data.path is empty: data.source={data.source!r} needs the folder that `gpt-jax'
      ' prepare --out=...` has written.'
    )
  return Prepared(_folder(data), data)


def _folder(data):
  if is_url(data.path):
    return place(data.path)
  candidates = files.candidates(data.path, data.data_dir)
  for candidate in candidates:
    if (candidate / manifest.MANIFEST).exists():
      return candidate
  there = [candidate for candidate in candidates if candidate.exists()]
  return there[0] if there else candidates[-1]
