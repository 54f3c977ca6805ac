"""Requests in any company get their own text, and nothing is left behind them."""

import threading

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.request import Request
from gpt_jax.inference.scheduler import Scheduler
from gpt_jax.inference.waiting import QueueFullError
from tests.fake_slots import VOCAB, FakeSlots, text_of

SHARED = [7] * 9  # two blocks of four, and one token more


def make(queue_limit=None, tokens_per_step=8, chunks_per_step=1, **options):
  return Scheduler(
    FakeSlots(**options), queue_limit=queue_limit, tokens_per_step=tokens_per_step,
    chunks_per_step=chunks_per_step,
  )  # fmt: skip


def request_of(prompt, new=10, **settings):
  return Request(prompt_ids=prompt, max_new_tokens=new, **settings)


def random_request(rng):
  """Returns a request of any length, often with the beginning that others have."""
  prompt = rng.integers(0, VOCAB, rng.integers(1, 20)).tolist()
  if rng.random() < 0.6:
    prompt = SHARED[: rng.integers(1, 10)] + prompt
  stops = tuple(rng.integers(0, VOCAB, rng.integers(0, 4)).tolist())
  return request_of(prompt, int(rng.integers(0, 30)), seed=int(rng.integers(9)),
                    stop_ids=stops)  # fmt: skip


def assert_nothing_is_left(scheduler):
  assert scheduler.num_running == scheduler.num_waiting == 0
  assert not scheduler._tasks and not scheduler._cancelled
  nodes = [scheduler.prefixes.root, *scheduler.prefixes._nodes()]
  assert [node.holders for node in nodes] == [0] * len(nodes)
  blocks = [node.block for node in nodes[1:]] + scheduler.prefixes._free
  assert sorted(blocks) == list(range(scheduler.slots.num_blocks))
  assert scheduler.slots._texts == [None] * scheduler.slots.num_slots


@pytest.mark.parametrize('seed', range(20))
def test_any_interleaving_gives_each_request_its_text(seed):
  rng = np.random.default_rng(seed)
  scheduler = make(
    num_slots=int(rng.integers(1, 5)),
    num_blocks=int(rng.integers(0, 8)),
    tokens_per_step=int(rng.integers(1, 9)),
    chunks_per_step=(1, 3, None)[seed % 3],
  )
  sent, cancelled = [], set()
  for _ in range(150):
    act = rng.random()
    if act < 0.3:
      request, sample = random_request(rng), int(rng.integers(2))
      priority = int(rng.integers(3))
      sent.append((scheduler.submit(request, priority, sample), request, sample))
    elif act < 0.4 and sent:
      handle = sent[rng.integers(len(sent))][0]
      cancelled.add(handle)
      handle.cancel()
    else:
      scheduler.step()
  scheduler.run()
  for handle, request, sample in sent:
    expected, found = text_of(request, sample), handle.ids.tolist()
    if handle.ended == 'cancelled':
      assert handle in cancelled and found == expected[: len(found)]
    else:
      is_whole = len(expected) == request.max_new_tokens
      assert (found, handle.ended) == (expected, 'length' if is_whole else 'stop')
  assert_nothing_is_left(scheduler)


def test_what_prompts_begin_with_is_read_once():
  scheduler = make(num_slots=2, num_blocks=8)
  first = scheduler.submit(request_of([*SHARED, 1]))
  others = [scheduler.submit(request_of([*SHARED, i])) for i in (2, 3)]
  scheduler.run()
  # The last token of a prompt is read by the first step of writing.
  assert scheduler.counts['read'] == 9 + 1 + 1
  assert scheduler.counts['reused'] == 2 * 8
  assert [handle.reused_tokens for handle in (first, *others)] == [0, 8, 8]


def test_a_full_prefix_cache_forgets_the_longest_unused():
  scheduler = make(num_blocks=2)
  for prompt in ([1] * 5, [2] * 5, [1] * 5, [3] * 5, [1] * 5, [2] * 5):
    scheduler.submit(request_of(prompt)).result()
  # [1] is kept by its uses, [2] has gone for [3].
  assert scheduler.counts['reused'] == 2 * 4
  assert_nothing_is_left(scheduler)


def test_a_higher_priority_goes_first_then_who_came_first():
  scheduler = make(num_slots=1)
  order = []
  sent = [(0, 'a'), (1, 'b'), (0, 'c'), (2, 'd'), (1, 'e')]
  handles = {
    scheduler.submit(request_of([i + 1]), priority): name
    for i, (priority, name) in enumerate(sent)
  }
  while scheduler.step():
    order += [name for h, name in handles.items() if h.ended and name not in order]
  assert order == ['d', 'b', 'e', 'a'] and scheduler.counts['preempted'] == 0


def test_a_higher_priority_takes_the_slot_of_a_lower_one():
  scheduler = make(num_slots=1, tokens_per_step=2)
  low = scheduler.submit(request_of([1, 2, 3], new=20))
  scheduler.step()
  scheduler.step()
  assert 0 < len(low.ids) < 20
  high = scheduler.submit(request_of([4]), priority=1)
  assert high.result().ids.tolist() == text_of(high.request)
  assert low.ended is None
  assert low.result().ids.tolist() == text_of(low.request)
  assert scheduler.counts['preempted'] == 1


def test_who_came_last_leaves_its_slot_first():
  scheduler = make(num_slots=2, tokens_per_step=1)
  low = [scheduler.submit(request_of([i], new=20)) for i in range(2)]
  for _ in range(3):
    scheduler.step()
  scheduler.submit(request_of([9], new=20), priority=1)
  written = [len(handle.ids) for handle in low]
  scheduler.step()
  grown = [len(h.ids) - n for h, n in zip(low, written, strict=True)]
  assert grown == [1, 0]


def test_the_prompt_of_the_highest_priority_is_read_first():
  scheduler = make(num_slots=3)
  for i in range(3):
    scheduler.submit(request_of([i] * 9), priority=i)
  for _ in range(6):
    scheduler.step()
  read = [slot for name, slot in scheduler.slots.calls if name == 'read']
  assert read == [0, 0, 1, 1, 2, 2]  # slots in the order of priority


def test_rows_taken_out_never_fill_more_than_the_slots():
  scheduler = make(num_slots=2, tokens_per_step=1)
  handles = []
  for priority in range(8):
    handles.append(scheduler.submit(request_of([priority], new=30), priority))
    scheduler.step()
    saved = [t for t in scheduler._tasks.values() if t.saved is not None]
    assert len(saved) <= 2
  scheduler.run()
  assert all(h.ids.tolist() == text_of(h.request) for h in handles)


def test_others_write_while_a_long_prompt_is_read():
  scheduler = make(num_slots=2)
  short = scheduler.submit(request_of([1], new=30))
  scheduler.step()
  long = scheduler.submit(request_of(list(range(40)), new=5))
  grown = []
  while not len(long.ids):
    before = len(short.ids)
    scheduler.step()
    grown.append(len(short.ids) - before)
  assert len(grown) == 10 and min(grown) >= 1


def test_all_prompts_can_be_read_before_anything_is_written():
  scheduler = make(num_slots=3, chunks_per_step=None)
  for i in range(3):
    scheduler.submit(request_of([i] * 14, new=3))
  scheduler.step()
  kinds = [name for name, _ in scheduler.slots.calls if name in ('read', 'write')]
  assert kinds == ['read'] * 4 * 3 + ['write']


def test_a_full_queue_says_so_and_takes_nothing():
  scheduler = make(num_slots=1, queue_limit=2)
  for i in range(2):
    scheduler.submit(request_of([i]))
  with pytest.raises(QueueFullError, match='2 requests wait.*queue_limit=2'):
    scheduler.submit(request_of([5]))
  scheduler.step()
  scheduler.submit(request_of([5]))
  scheduler.run()
  assert_nothing_is_left(scheduler)


def test_a_request_that_fits_no_slot_is_refused_at_once():
  scheduler = make(slot_tokens=16)
  with pytest.raises(ConfigError, match='longer than a slot'):
    scheduler.submit(request_of([1] * 10, new=8))
  assert_nothing_is_left(scheduler)


def test_a_priority_is_a_whole_number():
  with pytest.raises(ConfigError, match=r'priority=0\.5'):
    make().submit(request_of([1]), priority=0.5)


def test_an_error_of_the_device_ends_all_texts_and_no_later_one():
  scheduler = make(num_slots=1)
  scheduler.slots.fails_at_call = 4
  handles = [scheduler.submit(request_of([1, 2, 3])) for _ in range(2)]
  with pytest.raises(RuntimeError, match='the device is gone'):
    scheduler.run()
  for handle in handles:
    assert handle.ended == 'failed'
    with pytest.raises(RuntimeError, match='the device is gone'):
      handle.result()
  later = scheduler.submit(request_of([1, 2, 3]))
  assert later.result().ids.tolist() == text_of(later.request)
  assert_nothing_is_left(scheduler)


def test_a_thread_serves_many_senders():
  found = {}
  with make(num_slots=3).start() as scheduler:

    def send(i):
      handle = scheduler.submit(request_of([i, i + 1, i + 2], new=5 + i))
      found[i] = (list(handle), text_of(handle.request))

    senders = [threading.Thread(target=send, args=(i,)) for i in range(20)]
    for sender in senders:
      sender.start()
    for sender in senders:
      sender.join(timeout=10)
    assert_nothing_is_left(scheduler)
  assert len(found) == 20 and all(ids == text for ids, text in found.values())


def test_closing_ends_what_is_not_over():
  scheduler = make(num_slots=1).start()
  handles = [scheduler.submit(request_of([i], new=64)) for i in range(3)]
  scheduler.close()
  assert all(handle.ended for handle in handles)
  with pytest.raises(ConfigError, match='closed'):
    scheduler.submit(request_of([1]))
