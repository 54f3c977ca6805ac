"""A handle shows its text as it grows and says why it is over."""

import pytest

from gpt_jax.inference.request import Request
from gpt_jax.inference.scheduler import Scheduler
from tests.fake_slots import FakeSlots, text_of


def submit(new=10, **settings):
  scheduler = Scheduler(FakeSlots(), tokens_per_step=2)
  return scheduler.submit(Request(prompt_ids=[3, 1, 4], max_new_tokens=new, **settings))


def test_iterating_gives_the_ids_as_they_come():
  handle = submit()
  seen = []
  for token_id in handle:
    seen.append(token_id)
    assert seen == handle.ids.tolist()[: len(seen)]
  assert seen == text_of(handle.request) and handle.ended == 'length'
  assert list(handle) == seen  # again, from the beginning


def test_the_result_is_all_of_the_text():
  handle = submit()
  assert handle.result().ids.tolist() == text_of(handle.request)
  assert list(handle.seconds) == ['submitted', 'admitted', 'first', 'ended']
  assert sorted(handle.seconds.values()) == list(handle.seconds.values())


def test_a_stop_id_ends_the_text_and_is_no_part_of_it():
  stop = text_of(submit().request)[4]
  handle = submit(stop_ids=(stop,))
  expected = text_of(handle.request)
  assert handle.result().ids.tolist() == expected and len(expected) <= 4
  assert handle.ended == 'stop'


def test_no_new_tokens_are_an_empty_text():
  handle = submit(new=0)
  assert (handle.result().ids.shape, handle.ended) == ((0,), 'length')


@pytest.mark.parametrize('seen', [0, 1, 3])
def test_cancelling_ends_the_text_where_it_is(seen):
  handle = submit()
  ids = iter(handle)
  for _ in range(seen):
    next(ids)
  handle.cancel()
  handle.cancel()
  found = handle.result().ids.tolist()
  assert handle.ended == 'cancelled'
  assert seen <= len(found) < 10 and found == text_of(handle.request)[: len(found)]


def test_cancelling_what_is_over_changes_nothing():
  handle = submit()
  handle.result()
  handle.cancel()
  assert handle.result().ids.tolist() == text_of(handle.request)
  assert handle.ended == 'length'
