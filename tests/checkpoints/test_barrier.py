"""A process that fails in a save still joins its barriers, once each and in order."""

import threading
import time

from gpt_jax.checkpoints.barrier import SaveBarrier


def barrier_at_save_2():
  """Returns a SaveBarrier at its second save, and the list of the keys it waits for."""
  barrier, joined = SaveBarrier(), []
  barrier._wait = lambda key, timeout_ms: joined.append(key)
  barrier.begin()
  barrier.begin()
  return barrier, joined


def run_in_thread(action):
  thread = threading.Thread(target=action)
  thread.start()
  thread.join()


def wait_for(joined, number):
  deadline = time.monotonic() + 10
  while len(joined) < number:
    assert time.monotonic() < deadline, joined
    time.sleep(0.001)


BOTH = ['async_write_complete.save_2', 'async_commit_complete.save_2']


def test_a_save_waits_at_both_barriers_under_its_number():
  barrier, joined = barrier_at_save_2()

  def save():
    barrier.watch()
    barrier(key='async_write_complete.30', timeout_ms=1)
    barrier.watch()  # once for each item
    barrier(key='other', timeout_ms=1)
    barrier(key='async_commit_complete.30', timeout_ms=1)

  run_in_thread(save)
  assert joined == [BOTH[0], 'other', BOTH[1]]
  barrier.begin()
  run_in_thread(lambda: barrier(key='async_write_complete.30', timeout_ms=1))
  assert joined[3:] == ['async_write_complete.save_3']


def test_a_save_that_fails_joins_the_remaining_barriers():
  barrier, joined = barrier_at_save_2()
  run_in_thread(barrier.watch)
  wait_for(joined, 2)
  assert joined == BOTH
  barrier, joined = barrier_at_save_2()

  def save():
    barrier.watch()
    barrier(key='async_write_complete.30', timeout_ms=1)

  run_in_thread(save)
  wait_for(joined, 2)
  assert joined == BOTH
