"""The machine that this process runs on, without jax: accelerators, and its malloc.

Where a step runs on the cores of the machine, XLA asks for all its temporary memory
when it begins and frees it when it ends. glibc gives blocks of that size back to the
system, which clears each page again when the next step first writes to it: 220,000 page
faults, an eighth of the time of a GPT-2 124M step of 2 x 256 tokens
(docs/performance.md).
"""

import ctypes
import os
import platform

# From glibc's malloc.h. One arena, because the others map large blocks whatever they
# are told; no mapping of single blocks; nothing trimmed from the end of the heap.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_SETTINGS = {_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}

MALLOC_VARIABLES = (
  'GLIBC_TUNABLES',
  'LD_PRELOAD',
  'MALLOC_ARENA_MAX',
  'MALLOC_ARENA_TEST',
  'MALLOC_MMAP_MAX_',
  'MALLOC_MMAP_THRESHOLD_',
  'MALLOC_TOP_PAD_',
  'MALLOC_TRIM_THRESHOLD_',
)
"""Where somebody may have said how malloc should behave."""


def tune_malloc():
  """Lets glibc keep what is freed, for the next step; returns whether it will.

  To be called before jax is imported: threads that have allocated keep their arenas.
  The process then stays as large as it ever was. Nothing happens where an accelerator
  does the work, where malloc is not glibc's, and where one of MALLOC_VARIABLES is set.
  """
  if accelerator() and not os.environ.get('JAX_PLATFORMS', '').startswith('cpu'):
    return False
  if platform.libc_ver()[0] != 'glibc' or any(map(os.environ.get, MALLOC_VARIABLES)):
    return False
  mallopt = ctypes.CDLL(None).mallopt
  return all([mallopt(name, value) == 1 for name, value in _SETTINGS.items()])


def accelerator():
  """Returns (extra, name) of an accelerator that the system shows, or None."""
  if os.path.exists('/dev/nvidia0'):
    return 'cuda', 'an NVIDIA GPU'
  if os.path.exists('/dev/accel0') or os.path.exists('/dev/vfio/0'):
    return 'tpu', 'a TPU'
  return None
