"""CRC-32 of the blocks of a file of the token cache, compared when they are read."""

import zlib

import numpy as np

from gpt_jax.core.errors import DataError

BLOCK_BYTES = 1 << 16


class BlockChecksums:
  """Sums of the blocks of the file `path`; each is compared once, at its first use."""

  def __init__(self, path, values, sums):
    self._path, self._sums = path, sums
    self._bytes, self._width = values.view(np.uint8), values.itemsize
    self._is_verified = np.zeros(len(sums), bool)

  def verify(self, start, stop):
    """Raises DataError where values `start` to `stop` are not as written."""
    first = start * self._width // BLOCK_BYTES
    last = -(-stop * self._width // BLOCK_BYTES)
    if self._is_verified[first:last].all():
      return
    for block in range(first, last):
      begin = block * BLOCK_BYTES
      content = self._bytes[begin : begin + BLOCK_BYTES]
      if zlib.crc32(content) != self._sums[block]:
        raise damaged(
          self._path,
          f'{self._path.stem} {begin // self._width} to'
          f' {(begin + len(content)) // self._width - 1} are not as written',
        )
      self._is_verified[block] = True  # idempotent, so threads need no lock


def of_file(path):
  """Returns the sums of the blocks of `path`, uint32."""
  with open(path, 'rb') as file:
    blocks = iter(lambda: file.read(BLOCK_BYTES), b'')
    return np.array([zlib.crc32(block) for block in blocks], np.uint32)


def damaged(path, what):
  """Returns the DataError that says `what` is wrong with a file of the cache."""
  return DataError(
    f'{path}: {what}. It is a copy of the source: delete {path.parent}, and the next'
    ' start builds it again.'
  )
