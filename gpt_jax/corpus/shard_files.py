"""Writes the files of one shard; a killed process leaves none that is half written."""

import array
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import tempfile
import uuid
import zlib

import numpy as np

from gpt_jax.data import fields
from gpt_jax.data.checksums import BLOCK_BYTES
from gpt_jax.data.manifest import SHARD, ShardRecord, SplitRecord, to_json
from gpt_jax.storage import bucket_paths, objects
from gpt_jax.storage.urls import is_remote

_UNFINISHED = '.tmp'


def write_whole(path, content):
  """Writes bytes or text to `path`, whole or not at all."""
  content = content.encode() if isinstance(content, str) else content
  if is_remote(path):
    bucket_paths.write(path, content)
    return
  fresh = temporary(path)
  try:
    with _open_locked(fresh) as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
      os.replace(fresh, path)
  finally:
    fresh.unlink(missing_ok=True)


def temporary(path):
  """Returns a name beside `path` that no other process uses."""
  path = pathlib.Path(path)
  return path.with_name(f'.{path.name}.{uuid.uuid4().hex}{_UNFINISHED}')


def _open_locked(path):
  """Returns a new file, locked as long as it is open."""
  file = open(path, 'wb')
  with contextlib.suppress(OSError):  # a file system without locks
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  return file


def remove_unfinished(folder):
  """Removes temporary files of processes that were killed; others hold their lock."""
  if is_remote(folder):
    return  # objects are whole or absent
  for path in pathlib.Path(folder).glob(f'.*{_UNFINISHED}'):
    with contextlib.suppress(OSError), open(path, 'rb') as file:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      path.unlink()


class SplitFiles:
  """The documents of one split of one shard, as they are written."""

  def __init__(self, folder, split, dtype, names):
    self._folder, self._split, self._dtype = folder, split, dtype
    self._paths = {name: folder / f'{split}.{name}.bin' for name in ('tokens', *names)}
    self._stack = contextlib.ExitStack()
    fresh_in = folder
    if is_remote(folder):
      fresh_in = self._stack.enter_context(tempfile.TemporaryDirectory())
    self._fresh = {
      name: temporary(pathlib.Path(fresh_in) / path.name)
      for name, path in self._paths.items()
    }
    for fresh in self._fresh.values():
      self._stack.callback(fresh.unlink, missing_ok=True)
    self._files = {
      name: self._stack.enter_context(_open_locked(fresh))
      for name, fresh in self._fresh.items()
    }
    self._offsets = array.array('q', [0])
    self.num_tokens, self.num_bytes = 0, 0

  def add(self, ids, num_bytes=None):
    """Appends ids to the present document, with the bytes that each accounts for."""
    self._files['tokens'].write(ids.astype(self._dtype).tobytes())
    if num_bytes is not None:
      values = num_bytes.astype(fields.field('bytes').dtype)
      self._files['bytes'].write(values.tobytes())
    self.num_tokens += len(ids)

  def add_field(self, name, values):
    self._files[name].write(values.tobytes())

  def end_document(self, num_bytes):
    """Returns how many tokens the document has that ends here, of `num_bytes`."""
    self._offsets.append(self.num_tokens)
    self.num_bytes += num_bytes
    return self._offsets[-1] - self._offsets[-2]

  @property
  def document_tokens(self):
    return self.num_tokens - self._offsets[-1]

  def close(self):
    """Puts the files in their place; returns the SplitRecord."""
    written = {}
    for name, file in self._files.items():
      file.flush()
      os.fsync(file.fileno())
      facts, sums = _facts(self._fresh[name])
      if is_remote(self._folder):
        bucket_paths.upload(self._fresh[name], self._paths[name])
      else:
        os.replace(self._fresh[name], self._paths[name])
      written[self._paths[name].name] = facts
      written |= self._small(f'{name}.checks', sums.tobytes())
    offsets = self._offsets.tobytes()
    sums = [zlib.crc32(offsets[i : i + BLOCK_BYTES]) for i in _blocks(offsets)]
    written |= self._small('offsets', offsets)
    written |= self._small('offsets.checks', np.array(sums, np.uint32).tobytes())
    self._stack.close()
    documents = len(self._offsets) - 1
    return SplitRecord(self.num_tokens, documents, self.num_bytes, written)

  def abandon(self):
    """Removes what was written so far."""
    self._stack.close()

  def _small(self, name, content):
    path = self._folder / f'{self._split}.{name}.bin'
    write_whole(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return {path.name: {'bytes': len(content), 'sha256': digest}}


def _blocks(content):
  return range(0, len(content), BLOCK_BYTES)


def _facts(path):
  """Returns ({bytes, sha256} of a file, the CRC-32 of each of its blocks)."""
  digest, sums, size = hashlib.sha256(), array.array('I'), 0
  with open(path, 'rb') as file:
    while block := file.read(BLOCK_BYTES):
      digest.update(block)
      sums.append(zlib.crc32(block))
      size += len(block)
  return {'bytes': size, 'sha256': digest.hexdigest()}, np.array(sums, np.uint32)


def shard_folder(out, number):
  return out / 'shards' / f'{number:05d}'


def shards_there(out):
  """Returns the numbers of the shards that are whole, sorted."""
  folder = out / 'shards'
  if not folder.exists():
    return []
  there = [path for path, _ in objects.files_below(folder) if path.name == SHARD]
  return sorted(int(path.parent.name) for path in there)


def write_record(folder, record: ShardRecord):
  """Writes `shard.json`, which says that the shard is whole."""
  write_whole(folder / SHARD, to_json(record))


def write_json(path, values):
  write_whole(path, json.dumps(values, indent=1, sort_keys=True) + '\n')
