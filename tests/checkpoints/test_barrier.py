"""Whoever dies in a save still comes to where the others wait, once, in order."""

import threading
import time

from gpt_jax.checkpoints.barrier import Meeting


def meeting():
  """Returns a Meeting at its second save, and the list of the places it comes to."""
  found, came = Meeting(), []
  found._wait = lambda key, timeout_ms: came.append(key)
  found.begin()
  found.begin()
  return found, came


def run(action):
  thread = threading.Thread(target=action)
  thread.start()
  thread.join()


def wait_for(came, number):
  deadline = time.monotonic() + 10
  while len(came) < number:
    assert time.monotonic() < deadline, came
    time.sleep(0.001)


ALL = ['async_write_complete.save_2', 'async_commit_complete.save_2']


def test_a_save_that_ends_well_meets_twice_under_its_number():
  found, came = meeting()

  def save():
    found.watch()
    found(key='async_write_complete.30', timeout_ms=1)
    found.watch()  # once for each item
    found(key='other', timeout_ms=1)
    found(key='async_commit_complete.30', timeout_ms=1)

  run(save)
  assert came == [ALL[0], 'other', ALL[1]]
  found.begin()
  run(lambda: found(key='async_write_complete.30', timeout_ms=1))
  assert came[3:] == ['async_write_complete.save_3']


def test_one_that_fails_while_writing_or_committing_makes_up_for_the_rest():
  found, came = meeting()
  run(found.watch)
  wait_for(came, 2)
  assert came == ALL
  found, came = meeting()

  def save():
    found.watch()
    found(key='async_write_complete.30', timeout_ms=1)

  run(save)
  wait_for(came, 2)
  assert came == ALL
