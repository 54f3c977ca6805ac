"""The client of the load generator, before a server that answers as it is told."""

import asyncio

import pytest

from gpt_jax.benchmarks import load_client
from tests.serving.fake_server import FakeServer, serving


@pytest.fixture(scope='module')
def server():
  fake = FakeServer()
  with serving(fake.app()) as url:
    fake.url = url
    yield fake


@pytest.fixture(autouse=True)
def _as_new(server):
  vars(server).update(vars(FakeServer()) | {'url': server.url})


def ask(server, **options):
  body = {'model': 'plain', 'prompt': 'x', 'max_tokens': 3}
  return asyncio.run(load_client.ask(server.url, body, **options))


def test_tokens_and_the_first_one_are_told(server):
  server.delay = 0.05
  answer = ask(server)
  assert (answer.status, answer.new_tokens) == (200, 3)
  assert 0 < answer.first_token_seconds < answer.seconds
  (path, body, _) = server.requests[0]
  assert path == '/v1/completions' and body['stream'] and body['max_tokens'] == 3


def test_a_refusal_tells_how_long_to_wait(server):
  server.failure = (503, 'Busy.', {'Retry-After': '7'})
  answer = ask(server)
  assert (answer.status, answer.retry_after, answer.new_tokens) == (503, 7.0, 0)


def test_a_stream_that_breaks_off_is_no_answer(server):
  server.breaks_off = True
  assert ask(server).status == load_client.NO_ANSWER


def test_a_server_that_is_slow_is_given_up(server):
  server.delay = 1.0
  answer = ask(server, timeout_seconds=0.2)
  assert answer.status == load_client.NO_ANSWER and answer.seconds < 1


def test_a_server_that_is_not_there_is_no_answer():
  answer = asyncio.run(load_client.ask('http://127.0.0.1:1', {}))
  assert answer.status == load_client.NO_ANSWER


def test_the_key_goes_along(server):
  server.key = 'k'
  assert ask(server).status == 401
  assert ask(server, key='k').status == 200


def test_a_get_tells_the_status(server):
  assert asyncio.run(load_client.get(server.url, '/v1/models')) == 200
  assert asyncio.run(load_client.get(server.url, '/nothing')) == 404
