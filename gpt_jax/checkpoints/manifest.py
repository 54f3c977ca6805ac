"""The list of a step's files with their digests, `digests.json`.

Version 2 has a digest of each block of BLOCK_BYTES of a file. Version 1, written up to
commit 602ca07, has one of each shard of an array, with the name of that array.
"""

import dataclasses
import hashlib
import json

from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.storage.objects import file_size
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote

FILE = 'digests.json'
ALGORITHM = 'sha256'
# What is read at once: small enough that damage names a few arrays, and a checkpoint of
# 1 TB has a manifest of 17 MB.
BLOCK_BYTES = 1 << 22
MAX_MANIFEST_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True)
class Block:
  """A range of bytes of a file; `arrays` in it, where the manifest names them."""

  start: int
  length: int
  digest: str
  arrays: str = ''

  @property
  def stop(self):
    return self.start + self.length


@dataclasses.dataclass(frozen=True)
class File:
  """The size of a file and the blocks that cover it."""

  size: int
  blocks: tuple[Block, ...]


def dumps(entries):
  """Returns the JSON text of `entries`, `{path: {bytes, blocks: [digest]}}`."""
  return _with_own_digest(
    dict(version=2, algorithm=ALGORITHM, block_bytes=BLOCK_BYTES, files=entries)
  )


def read(step_folder):
  """Returns `{path: File}`; CheckpointError when it is not what was written."""
  path = place(step_folder) / FILE
  try:
    is_link = not is_remote(path) and path.is_symlink()
    if is_link or file_size(path) > MAX_MANIFEST_BYTES:
      raise ValueError('a link, or far too large')
    text = path.read_text(encoding='utf-8')
    content = json.loads(text)
    del content['own']
    if _with_own_digest(content) != text:
      raise ValueError('its own digest differs')
    parse = {1: _parse_version_1, 2: _parse_version_2}[content['version']]
    return parse(content)
  except StorageError:  # the bucket does not answer: that is no damage
    raise
  except (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    RecursionError,
  ) as error:  # fmt: skip
    reason = getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'
    raise CheckpointError(f'{path}: no usable digests ({reason})') from error


def total_bytes(step_folder):
  """Returns the size of a step's files in all, by its manifest."""
  return sum(file.size for file in read(step_folder).values())


def block_ranges(size, block_bytes):
  """Yields (start, length) of the blocks of a file of `size` bytes; at least one."""
  for start in range(0, max(size, 1), block_bytes):
    yield start, min(block_bytes, size - start)


def _with_own_digest(content):
  """Returns `content` as JSON text that holds the digest of all else in it."""
  own = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
  return json.dumps(content | {'own': own}, sort_keys=True) + '\n'


def _parse_version_2(content):
  block_bytes, files = content['block_bytes'], {}
  for name, entry in content['files'].items():
    size = entry['bytes']
    blocks = zip(block_ranges(size, block_bytes), entry['blocks'], strict=True)
    files[name] = File(size, tuple(Block(*span, digest) for span, digest in blocks))
  return files


def _parse_version_1(content):
  return {
    name: File(
      entry['bytes'],
      tuple(Block(at, n, digest, arrays) for at, n, arrays, digest in entry['parts']),
    )
    for name, entry in content['files'].items()
  }
