"""Freed memory is kept, counted and given back. Malloc is that of its own process."""

import platform
import subprocess
import sys

import pytest

from gpt_jax.core import malloc

PROGRAM = """
from gpt_jax.core import malloc, process_memory

assert malloc.keep_freed()
size = 1 << 28
above = b'x' * size
behind = b'x' * 1000  # what is in use above keeps the heap from shrinking
del above
held, resident = malloc.held_bytes(), process_memory.resident_bytes()
assert malloc.give_back()
left = process_memory.resident_bytes()
print(held / size, (resident - left) / size, malloc.held_bytes() / size)
"""


@pytest.fixture(autouse=True)
def _only_with_glibc():
  version = platform.libc_ver()[1].split('.') if malloc.is_glibc() else ()
  if tuple(map(int, version)) < (2, 33):
    pytest.skip('malloc is not that of glibc 2.33 or newer')


def test_freed_memory_is_counted_and_given_back():
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM], stdout=subprocess.PIPE, text=True, check=True
  )
  held, given, left = map(float, done.stdout.split())
  assert held == pytest.approx(1, rel=0.05)
  assert given == pytest.approx(1, rel=0.05)
  assert left < 0.05
