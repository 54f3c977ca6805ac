"""Whether the processes of a run see one folder, or each a disk of its own."""

import contextlib
import socket
import time
import uuid

import jax
import numpy as np
from jax.experimental import multihost_utils

from gpt_jax.core.errors import StorageError
from gpt_jax.parallel import sync
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files

LOOK_SECONDS = 10.0
"""For a file to appear on all hosts; network file systems may take a moment."""


def require_shared(folder):
  """Raises StorageError, on all processes, where one of them sees another folder.

  Such as one in /tmp, which each host has for itself. A bucket is the same for all.
  """
  if jax.process_count() == 1 or is_remote(folder):
    return
  token_B = np.frombuffer(uuid.uuid4().bytes, np.uint8)
  token_B = multihost_utils.broadcast_one_to_all(token_B)
  # A name that nobody has looked for yet: that one is absent may be cached.
  probe = folder / f'.{bytes(token_B).hex()}.tmp'
  is_first = jax.process_index() == 0
  try:
    sync.raise_on_all(lambda: is_first and files.write_text(probe, ''))
    sync.raise_on_all(lambda: _look_for(probe))
  finally:
    if is_first:
      with contextlib.suppress(OSError):
        probe.unlink()


def _look_for(probe):
  deadline = time.monotonic() + LOOK_SECONDS
  while not probe.exists():
    if time.monotonic() > deadline:
      raise StorageError(
        f'--workdir={probe.parent}: on {socket.gethostname()} this is another folder'
        ' than the one that process 0 writes; give one on a file system that all hosts'
        ' mount, or in a bucket.'
      )
    time.sleep(0.1)
