"""The memory of this process, now and at most."""

import mmap

import numpy as np
import pytest

from gpt_jax.core import process_memory


def test_memory_that_is_written_to_is_counted():
  before = process_memory.resident_bytes()
  if before is None:
    pytest.skip('this system does not say how much memory a process takes')
  # Pages of its own: an array may take memory that the process has freed before.
  filled = np.frombuffer(mmap.mmap(-1, 1 << 24), np.uint8)
  filled[:] = 1
  now, most = process_memory.resident_bytes(), process_memory.peak_bytes()
  assert now is not None and most is not None
  assert now - before > filled.nbytes / 2 and most >= now - (1 << 20)


def test_a_system_that_does_not_say_gives_none(tmp_path, monkeypatch):
  monkeypatch.setattr(process_memory, '_STATUS', tmp_path / 'none')
  assert process_memory.resident_bytes() is process_memory.peak_bytes() is None
