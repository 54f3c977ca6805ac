"""glibc's malloc: freed memory stays with the process, until somebody gives it back."""

import ctypes
import platform

from gpt_jax.core import process_memory

# From glibc's malloc.h. One arena, because the others map large blocks whatever the
# settings; no mapping of single blocks; nothing trimmed from the end of the heap.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_SETTINGS = {_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}


class _Counts(ctypes.Structure):
  """`struct mallinfo2` of malloc.h: numbers of blocks and of bytes."""

  _fields_ = tuple(
    (name, ctypes.c_size_t)
    for name in (
      'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks',
      'uordblks', 'fordblks', 'keepcost',
    )
  )  # fmt: skip


def is_glibc():
  """Returns whether this process allocates by glibc."""
  return platform.libc_ver()[0] == 'glibc'


def keep_freed():
  """Makes malloc keep what is freed for the next block; returns whether it will."""
  if not is_glibc():
    return False
  mallopt = ctypes.CDLL(None).mallopt
  return all([mallopt(name, value) == 1 for name, value in _SETTINGS.items()])


def held_bytes():
  """Returns the bytes in memory that were freed and are still kept, 0 if unknown."""
  counts = getattr(ctypes.CDLL(None), 'mallinfo2', None) if is_glibc() else None
  resident = process_memory.resident_bytes()
  if counts is None or resident is None:  # glibc before 2.33
    return 0
  counts.restype = _Counts
  found = counts()
  # Pages that `give_back` gave stay free blocks, but are not in memory.
  return min(found.fordblks, max(0, resident - found.uordblks))


def give_back():
  """Gives the pages of freed memory back to the system; returns whether there were any.

  The next block that lies there has each page cleared at its first write.
  """
  return is_glibc() and ctypes.CDLL(None).malloc_trim(0) == 1
