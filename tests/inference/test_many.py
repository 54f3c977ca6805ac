"""Lists longer than the slots, and servers, give the texts of one request alone."""

import functools

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import many
from gpt_jax.inference.capacity import Wishes
from gpt_jax.inference.request import Request
from tests.inference.test_engine import DRAW, engine_of, make
from tests.inference.test_slots import some_requests

WISHES = Wishes(slots=3, prefill_chunk=16, queue_limit=2)


@functools.cache
def engine():
  return engine_of(*make()[:2], wishes=WISHES)


def test_a_long_list_gets_the_texts_of_a_short_one():
  requests, ended = some_requests() * 2, {}
  requests += [Request(prompt_ids=[3], max_new_tokens=0)]
  texts = engine().write(requests, on_end=lambda i, text: ended.update({i: text}))
  expected = make()[2].write(requests)
  assert [t.ids.tolist() for t in texts] == [t.ids.tolist() for t in expected]
  assert [t.finish for t in texts] == [t.finish for t in expected]
  assert [ended[i] for i in range(len(requests))] == texts
  # The second of two equal requests is another sample.
  assert texts[1].ids.tolist() != texts[11].ids.tolist()


def test_slots_are_for_more_requests_than_there_are_slots():
  request = Request(prompt_ids=[3], max_new_tokens=9)
  assert not many.needs_slots(engine(), [request] * 3)
  assert many.needs_slots(engine(), [request] * 4)
  assert not many.needs_slots(engine(), [])


@pytest.mark.slow
def test_texts_beyond_the_table_of_positions_go_on_together():
  long = Request(prompt_ids=[3, 1], max_new_tokens=80, sampling=DRAW)
  requests = [long, *some_requests()[:4]]
  assert not many.needs_slots(engine(), requests)
  found = [ids.tolist() for ids in engine().generate(requests)]
  assert found == [ids.tolist() for ids in make()[2].generate(requests)]


def test_a_server_takes_what_the_config_says():
  with many.open_scheduler(engine()) as scheduler:
    slots = scheduler.slots
    assert (slots.num_slots, slots.slot_tokens, slots.chunk) == (3, 64, 16)
    handles = [scheduler.submit(request) for request in some_requests()[:2]]
    with pytest.raises(ConfigError, match='65 places'):
      scheduler.submit(Request(prompt_ids=np.ones(60, int), max_new_tokens=6))
    scheduler.run()
    expected = make()[2].generate(some_requests()[:2])
    for handle, ids in zip(handles, expected, strict=True):
      assert handle.ids.tolist() == ids.tolist()
