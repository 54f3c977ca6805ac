"""The queue keeps its order and its limit whatever is put in and taken out."""

import types

import numpy as np
import pytest

from gpt_jax.inference.waiting import QueueFullError, WaitingQueue


def entry(number, priority=0, principal=None):
  return types.SimpleNamespace(
    number=number, priority=priority, principal=principal, turn=None
  )


@pytest.mark.parametrize('seed', range(5))
def test_the_queue_agrees_with_a_sorted_list(seed):
  rng = np.random.default_rng(seed)
  queue, entries = WaitingQueue(None), []
  for number in range(200):
    act = rng.random()
    if act < 0.5:
      entries.append(entry(number, int(rng.integers(3))))
      queue.put(entries[-1])
    elif entries and act < 0.65:
      queue.remove(entries.pop(rng.integers(len(entries))))
    elif entries:
      entries.sort(key=lambda e: (-e.priority, e.number))
      taken = queue.take()
      assert taken is entries.pop(0)
      if act < 0.8:  # it lost its slot
        queue.put(taken)
        entries.append(taken)
    assert len(queue) == len(entries)
  for expected in sorted(entries, key=lambda e: (-e.priority, e.number)):
    assert queue.first() is expected is queue.take()
  assert queue.first() is None


def test_principals_take_turns_whatever_one_has_sent():
  queue = WaitingQueue(None)
  sent = 'aaaaabab'
  for number, principal in enumerate(sent):
    queue.put(entry(number, principal=principal))
  first = [queue.take() for _ in range(2)]
  queue.put(entry(8, principal='c'))  # comes late, and waits for one of each other
  taken = first + [queue.take() for _ in range(len(queue))]
  assert ''.join(each.principal for each in taken) == 'ababcaaaa'
  for principal in 'ab':
    numbers = [each.number for each in taken if each.principal == principal]
    assert numbers == sorted(numbers)


def test_a_full_queue_is_an_error_that_names_the_limit():
  queue = WaitingQueue(1)
  queue.require_room()
  queue.put(entry(0))
  with pytest.raises(QueueFullError, match='queue_limit=1'):
    queue.require_room()
  queue.take()
  queue.require_room()
