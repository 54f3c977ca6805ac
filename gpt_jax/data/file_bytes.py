"""Bytes of a file that are read when they are asked for, however large it is."""

from gpt_jax.core.errors import DataError


class FileBytes:
  """A stretch of an open file, as a read-only sequence of bytes: slices are copies.

  Unlike a memory map it leaves nothing in the memory of the process. Not for threads.
  """

  def __init__(self, file, start=0, stop=None):
    """`file` is open for reading, in binary; `stop` None: to its end."""
    self._file, self._start = file, start
    if stop is None:
      stop = file.seek(0, 2)
    self._length = stop - start

  def __len__(self):
    return self._length

  def __getitem__(self, where):
    if isinstance(where, slice):
      start, stop, step = where.indices(self._length)
      assert step == 1, 'no strides'
      return self._read(start, max(stop - start, 0))
    if not -self._length <= where < self._length:
      raise IndexError(where)
    return self._read(where % self._length, 1)[0]

  def _read(self, start, count):
    try:
      self._file.seek(self._start + start)
      return self._file.read(count)
    except OSError as error:
      raise DataError(
        f'{self._file.name} cannot be read: {error.strerror or error}.'
      ) from error

  def blocks(self, size):
    """Yields all of it in bytes of `size`, the last one shorter."""
    for start in range(0, self._length, size):
      yield self[start : start + size]

  def stretch(self, start, stop):
    """Returns bytes `start` to `stop` as FileBytes of the same file."""
    return FileBytes(self._file, self._start + start, self._start + stop)
