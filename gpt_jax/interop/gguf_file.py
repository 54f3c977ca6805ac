"""A GGUF file: its fields, and its tensors as float32, a part at a time."""

import os
import pathlib

import ml_dtypes
import numpy as np

from gpt_jax.core.errors import CheckpointError, require_extra
from gpt_jax.interop import gguf_header

PLAIN = {'F32': np.float32, 'F16': np.float16, 'BF16': ml_dtypes.bfloat16}
"""Types that are read without the package."""

_CHUNK_VALUES = 1 << 18  # at a time: what the package makes of them stays in the cache


class GGUFFile:
  """An open GGUF file, whose header was read and checked."""

  def __init__(self, path):
    """Raises CheckpointError for a file that is missing or not as its header says."""
    self.path = pathlib.Path(path)
    try:
      self._file = open(path, 'rb')  # until `close`
    except OSError as error:
      raise CheckpointError(f'{path}: cannot be read: {error.strerror}.') from error
    try:
      size = os.fstat(self._file.fileno()).st_size
      self.fields, self.tensors = gguf_header.read_header(self._file, size, path)
      self._check_kinds()
    except OSError as error:
      self.close()
      raise CheckpointError(f'{path}: cannot be read: {error.strerror}.') from error
    except BaseException:
      self.close()
      raise

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()

  def close(self):
    self._file.close()

  def _check_kinds(self):
    kinds = {place.kind for place in self.tensors.values()} - set(PLAIN)
    if kinds:
      _package(self.path, kinds)

  def read(self, name, start=0, stop=None):
    """Returns the values `start` to `stop` of a tensor, flat, as float32.

    Both are at borders of blocks, as those of rows are. Raises CheckpointError for
    numbers that are not finite.
    """
    place = self.tensors[name]
    stop = place.num_values if stop is None else stop
    assert start % place.block_values == stop % place.block_values == 0
    result = np.empty(stop - start, np.float32)
    step = max(1, _CHUNK_VALUES // place.block_values) * place.block_values
    to_values = self._decoder(place)
    for first in range(start, stop, step):
      last = min(first + step, stop)
      part = result[first - start : last - start]
      part[:] = to_values(self._content(place, first, last))
      if not np.isfinite(part).all():
        raise gguf_header.damaged(
          self.path, f'tensor {name!r} has numbers that are not finite'
        )
    return result

  def is_copy(self, name, other):
    """Returns whether two tensors are stored by the same bytes."""
    one, two = self.tensors[name], self.tensors[other]
    if (one.kind, one.shape) != (two.kind, two.shape):
      return False
    step = _CHUNK_VALUES // one.block_values * one.block_values
    for first in range(0, one.num_values, step):
      last = min(first + step, one.num_values)
      if self._content(one, first, last) != self._content(two, first, last):
        return False
    return True

  def _content(self, place, first, last):
    """Returns the bytes of the values `first` to `last`."""
    count = (last - first) // place.block_values * place.block_bytes
    where = place.start + first // place.block_values * place.block_bytes
    try:
      content = os.pread(self._file.fileno(), count, where)
    except OSError as error:
      raise CheckpointError(
        f'{self.path}: cannot be read: {error.strerror}.'
      ) from error
    if len(content) != count:
      raise gguf_header.damaged(self.path, f'tensor {place.name!r} ends early')
    return content

  def _decoder(self, place):
    """Returns a function from the bytes of blocks to their values."""
    if place.kind in PLAIN:
      return lambda content: np.frombuffer(content, PLAIN[place.kind])
    package = _package(self.path, {place.kind})
    kind = package.GGMLQuantizationType[place.kind]
    # As one row: the package goes through rows in groups, at a cost for each.
    return lambda content: package.quants.dequantize(
      np.frombuffer(content, np.uint8)[None], kind
    )[0]


def _package(path, kinds):
  try:
    import gguf
  except ImportError as error:
    needs = require_extra('gguf', 'gguf')
    raise CheckpointError(
      f'{path}: tensors of type {", ".join(sorted(kinds))} {needs}'
    ) from error
  return gguf
