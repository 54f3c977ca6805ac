"""All processes get one answer; test_multihost.py asks two real ones."""

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.parallel import sync


def test_alone_a_process_answers_itself():
  assert sync.any_process(1) is True and sync.broadcast_from_primary(0) is False
  assert sync.raise_on_all(lambda: 'done') == 'done'
  with pytest.raises(KeyError):
    sync.raise_on_all(lambda: {}['nothing'])


@pytest.fixture
def others(monkeypatch):
  """Makes this process 0 of several; the list gets what the others would tell."""
  others = []

  def allgather(mine):
    if mine.dtype == bool:
      return np.array([mine, *others])
    rows = [np.frombuffer(text.ljust(len(mine), b'\0'), np.uint8) for text in others]
    return np.stack([mine, *rows])

  monkeypatch.setattr(jax, 'process_count', lambda: 1 + len(others))
  monkeypatch.setattr(sync.multihost_utils, 'process_allgather', allgather)
  return others


def test_one_process_is_enough_for_any(others):
  others += [False, True]
  assert sync.any_process(False)
  others[1] = False
  assert not sync.any_process(False)


def fail():
  raise StorageError('a part is missing')


def test_all_end_with_the_error_of_the_one_that_failed(others):
  others += [b'', b'3 DataError: token 7 is bad: 300']
  with pytest.raises(DataError, match='process 2: token 7 is bad: 300'):
    sync.raise_on_all(lambda: None)
  with pytest.raises(DataError):  # of several the last: the cause
    sync.raise_on_all(fail)
  others[1] = b'0 KeyError: nothing'
  with pytest.raises(RuntimeError, match='process 2: KeyError: nothing'):
    sync.raise_on_all(lambda: None)
  others[1] = b''
  with pytest.raises(StorageError, match='^a part is missing'):
    sync.raise_on_all(fail)


def test_a_long_message_is_truncated(others):
  others += [b'3 DataError: ' + sync.PROBLEM_BYTES * b'x']
  others[0] = others[0][: sync.PROBLEM_BYTES]
  with pytest.raises(DataError, match='process 1: xxx'):
    sync.raise_on_all(lambda: None)
