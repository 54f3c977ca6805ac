"""Closed and open loops: whom they ask, how often, and what it adds up to."""

import asyncio
import math

import pytest

from gpt_jax.benchmarks import load, load_client
from gpt_jax.benchmarks.load_client import Answer


@pytest.fixture
def asked(monkeypatch):
  """Returns the addresses asked; a request takes 10 ms and is answered by a token."""
  found = []

  async def ask(address, body, *, status=200):
    found.append((address, body))
    await asyncio.sleep(0.01)
    return Answer(address, status, 0.01, 0.005, 1, retry_after=0.0)

  monkeypatch.setattr(load_client, 'ask', ask)
  return found


def test_a_closed_loop_sends_all_to_the_addresses_in_turn(asked):
  found = asyncio.run(load.closed_loop(['a', 'b'], range(10), clients=3))
  assert [address for address, _ in asked] == ['a', 'b'] * 5
  assert (found.answered, found.failed, found.refused) == (10, 0, 0)
  assert found.by_address == {'a': 5, 'b': 5}


def test_an_open_loop_does_not_wait_for_answers(asked):
  sent = list(range(40))
  found = asyncio.run(load.open_loop(['a'], sent, rate=2000.0))
  # One after another they would take 0.4 s; they came within about 0.02.
  assert found.answered == 40 and found.seconds < 0.3


def test_refused_and_failed_requests_are_told_apart():
  answers = [
    Answer('a', 200, 2.0, 1.0, 10), Answer('a', 503, 0.0), Answer('b', 429, 0.0),
    Answer('b', 500, 0.1), Answer('b', load_client.NO_ANSWER, 9.0),
  ]  # fmt: skip
  found = load.summary(answers, seconds=2.0)
  assert (found.requests, found.answered, found.refused, found.failed) == (5, 1, 2, 2)
  assert (found.requests_per_second, found.tokens_per_second) == (0.5, 5.0)
  assert (found.first_token_p95, found.request_p50) == (1.0, 2.0)


def test_an_open_loop_sends_no_more_than_can_be_open(asked, monkeypatch):
  monkeypatch.setattr(load, 'MAX_OPEN', 2)
  found = asyncio.run(load.open_loop(['a'], range(20), rate=1e6))
  assert (found.answered, found.failed, found.unsent) == (2, 0, 18)


def test_without_an_answer_there_are_no_times():
  assert math.isnan(load.summary([Answer('a', 503, 0.0)], 1.0).first_token_p50)


def test_bodies_are_the_same_each_time_and_of_mixed_lengths():
  one, other = (load.make_bodies('m', 50, longest=64) for _ in range(2))
  assert one == other
  lengths = {len(body['prompt']) for body in one}
  assert max(lengths) <= 64 and len(lengths) > 10
  assert all(4 <= body['max_tokens'] < 64 for body in one)
