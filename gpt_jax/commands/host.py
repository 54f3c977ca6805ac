"""The host of this process, without jax: its accelerator and its malloc."""

import glob
import importlib.metadata
import importlib.util
import os

from gpt_jax.core import malloc

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
"""Settings of malloc that a user may have chosen."""


def tune_malloc():
  """Makes glibc keep freed memory for the next step; returns whether it will.

  Call it before jax is imported: threads that have allocated keep their arenas. It does
  nothing where an accelerator computes, and where one of MALLOC_VARIABLES is set.
  """
  # Where a step runs on CPU cores, XLA allocates all its temporary memory at the start
  # and frees it at the end. glibc returns such blocks to the system, which clears each
  # page again at its next first write: 220,000 page faults, an eighth of the time of a
  # GPT-2 124M step of 2 x 256 tokens (docs/performance.md).
  if accelerator() and not os.environ.get('JAX_PLATFORMS', '').startswith('cpu'):
    return False
  if any(map(os.environ.get, MALLOC_VARIABLES)):
    return False
  return malloc.keep_freed()


def accelerator():
  """Returns (extra, name) of an accelerator that the system shows, or None."""
  if any(map(glob.glob, ('/dev/nvidia[0-9]*', '/dev/nvidiactl', '/dev/dxg'))):
    return 'cuda', 'an NVIDIA GPU'
  if glob.glob('/dev/accel[0-9]*') or glob.glob('/dev/vfio/[0-9]*'):
    return 'tpu', 'a TPU'
  return None


def skip_absent_tpu():
  """Keeps jax from loading libtpu where no TPU is; call it before jax is imported.

  It is there for `gpt-jax plan`. Any other command would print its errors first.
  """
  chosen = ('JAX_PLATFORMS', 'JAX_FORCE_TPU_INIT')
  if any(map(os.environ.get, chosen)) or importlib.util.find_spec('libtpu') is None:
    return
  extra, _ = accelerator() or ('', '')
  plugins = [
    point.name for point in importlib.metadata.entry_points(group='jax_plugins')
  ]
  if extra == 'tpu' or not all('cuda' in name for name in plugins):
    return
  # Named, a backend that is missing is an error: only those that are sure to be here.
  if not extra:
    os.environ['JAX_PLATFORMS'] = 'cpu'
  elif plugins:
    os.environ['JAX_PLATFORMS'] = 'cuda,cpu'
