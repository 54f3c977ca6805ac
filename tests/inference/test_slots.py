"""A text in a slot is that of its request alone, bit by bit, whatever else goes on."""

import functools

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.capacity import Capacity
from gpt_jax.inference.request import Request
from gpt_jax.inference.scheduler import Scheduler
from gpt_jax.inference.settings import Sampling
from gpt_jax.inference.slots import Slots
from tests import tiny_runs
from tests.inference.test_engine import DRAW, MAX_LEN, VARIANTS, engine_of, make
from tests.inference.test_guide import OnlyIds
from tests.inference.test_placement import CASES, on_mesh, one_device

CHUNK = 16
PENALIZED = Sampling(temperature=1.0, repetition_penalty=1.3, logit_bias={3: -1.0})


def scheduler_of(engine, num_slots=3, num_blocks=3, **options):
  slots = Slots(engine, Capacity(num_slots, MAX_LEN, CHUNK, num_blocks))
  return Scheduler(slots, queue_limit=None, **options)


def some_requests(vocab=16, log_probs=0):
  """Returns requests of all kinds, some with the same first two chunks."""
  rng = np.random.default_rng(0)
  shared = rng.integers(0, vocab, 2 * CHUNK)
  kinds = [Sampling(), DRAW, PENALIZED]
  requests = []
  for i in range(10):
    prompt = rng.integers(0, vocab, rng.integers(1, 12))
    if i % 2:
      prompt = np.concatenate([shared, prompt])
    stops = tuple(rng.integers(0, vocab, 6).tolist()) if i in (4, 5) else ()
    requests.append(
      Request(
        prompt_ids=prompt, max_new_tokens=int(rng.integers(1, 20)),
        sampling=kinds[i % 3], seed=i, stop_ids=stops, log_probs=log_probs,
      )
    )  # fmt: skip
  return requests


def text_of(written):
  """Returns what has to agree: ids, why they end, and their log-probabilities."""
  return written.ids.tolist(), written.finish, written.log_probs.written.tolist()


@functools.cache
def texts_alone(variant='learned'):
  """Returns the texts of `some_requests`, each in slots that nobody has used."""
  engine, found = make(variant)[2], []
  for request in some_requests():
    found.append(text_of(scheduler_of(engine).submit(request).result()))
  return found


FAST = ('learned',)


@pytest.mark.parametrize('variant', tiny_runs.mostly_slow(VARIANTS, *FAST))
def test_company_prefixes_and_slots_change_no_bit(variant):
  engine, requests = make(variant)[2], some_requests()
  scheduler = scheduler_of(engine, tokens_per_step=3)
  # Twice, in other company and other slots each time, the prefixes known or not.
  for order in (range(10), (7, 1, 3, 9, 0, 2, 5, 4, 8, 6)):
    handles = {i: scheduler.submit(requests[i]) for i in order}
    scheduler.run()
    assert [text_of(handles[i].result()) for i in range(10)] == texts_alone(variant)
  assert scheduler.counts['reused'] > 8 * CHUNK
  expected = [text.ids.tolist() for text in engine.write(requests)]
  assert [ids for ids, _, _ in texts_alone(variant)] == expected


def test_cancelled_and_preempted_neighbours_change_no_bit():
  requests = some_requests()
  scheduler = scheduler_of(make()[2], tokens_per_step=2)
  handles, cancelled = [], []
  for i, request in enumerate(requests):
    handles.append(scheduler.submit(request, priority=i % 3))
    cancelled.append(scheduler.submit(request, priority=2))
    scheduler.step()
    scheduler.step()
    cancelled[i // 2].cancel()
  scheduler.run()
  assert [text_of(handle.result()) for handle in handles] == texts_alone()
  assert scheduler.counts['preempted'] > 1
  assert 'cancelled' in [handle.ended for handle in cancelled]


def test_the_number_of_programs_does_not_grow():
  engine = engine_of(*make()[:2])
  programs = engine.slot_programs
  for num in (1, 3):
    scheduler = scheduler_of(engine, tokens_per_step=num)
    for i, request in enumerate(some_requests(log_probs=None) * 2):
      scheduler.submit(request, priority=i % 2)
      scheduler.step()
    scheduler.run()
  sizes = {name: getattr(programs, name)._cache_size() for name in vars(programs)}
  # Chunks of 16 with 16, 32, or 64 places in sight.
  assert sizes.pop('read') == 3
  assert sizes == dict.fromkeys(sizes, 1) and engine._decode._cache_size() == 1


def test_no_request_waits_for_a_compilation():
  model, params = make()[:2]
  # Bound to a device, as restored ones are: such arguments make programs of their own.
  engine = engine_of(model, jax.device_put(params, jax.devices()[0]))
  scheduler, programs = scheduler_of(engine), engine.slot_programs
  scheduler.slots.compile_all()

  def num_compiled():
    found = [getattr(programs, name)._cache_size() for name in vars(programs)]
    return sum(found) + engine._decode._cache_size()

  before = num_compiled()
  for request in some_requests():
    scheduler.submit(request)
  scheduler.run()
  assert num_compiled() == before


def test_guides_mask_and_end_texts_in_slots():
  engine = make()[2]
  ids = (3, 1, 4, 1, 5)
  guided = Request(prompt_ids=[7], max_new_tokens=9, guides=[OnlyIds(ids)])
  requests = [*some_requests()[:3], guided]
  scheduler = scheduler_of(engine)
  handles = [scheduler.submit(request) for request in requests]
  scheduler.run()
  assert handles[3].ids.tolist() == list(ids) and handles[3].ended == 'stop'
  assert [text_of(h.result()) for h in handles[:3]] == texts_alone()[:3]


def test_samples_of_one_request_differ_as_in_a_list():
  engine = make()[2]
  request = Request(prompt_ids=[3, 1, 4], max_new_tokens=12, sampling=DRAW)
  scheduler = scheduler_of(engine)
  handles = [scheduler.submit(request, sample=i) for i in (0, 1, 2)]
  scheduler.run()
  expected = [ids.tolist() for ids in engine.generate([request] * 3)]
  assert [handle.ids.tolist() for handle in handles] == expected


@pytest.mark.slow
def test_a_prefix_model_reads_its_prompts_whole():
  config, params, _ = make()
  engine = engine_of(config, params, visibility='prefix')
  scheduler = scheduler_of(engine)
  handles = [scheduler.submit(request) for request in some_requests()]
  scheduler.run()
  expected = [ids.tolist() for ids in engine.generate(some_requests())]
  assert [handle.ids.tolist() for handle in handles] == expected
  assert scheduler.counts['reused'] == 0


@pytest.mark.slow
@pytest.mark.parametrize('case', ['data', 'both', 'kv heads and width'])
def test_slots_on_eight_devices_write_as_on_one(case):
  is_grouped = CASES[case][0].get('num_heads') == 8
  engine = on_mesh(case)[1]
  one_device(is_grouped)  # its parameters are those of the mesh
  requests = [
    Request(prompt_ids=[i, 5, i + 1], max_new_tokens=9 + i, sampling=DRAW, seed=i)
    for i in range(12)
  ]
  slots = Slots(engine, Capacity(3, slot_tokens=32, chunk=16, num_blocks=2))
  scheduler = Scheduler(slots)
  handles = [scheduler.submit(request) for request in requests]
  scheduler.run()
  expected = [ids.tolist() for ids in engine.generate(requests)]
  assert [handle.ids.tolist() for handle in handles] == expected


def test_what_no_slot_can_take_is_named():
  slots = Slots(make()[2], Capacity(1, slot_tokens=32, chunk=16, num_blocks=0))
  with pytest.raises(ConfigError, match='33 places.* has 32.*inference.slot_tokens'):
    slots.require_fit(Request(prompt_ids=[1] * 20, max_new_tokens=14))
  slots.require_fit(Request(prompt_ids=[1] * 20, max_new_tokens=13))
  with pytest.raises(ConfigError, match='id 16'):
    slots.require_fit(Request(prompt_ids=[16], max_new_tokens=1))
