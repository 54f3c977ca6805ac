"""launch/serving/nginx.conf in a real nginx: what is lost when a server stops."""

import asyncio
import contextlib
import signal
import urllib.parse

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.faults import servers
from tests.serving.balancer import balanced
from tests.serving.fake_server import serving

pytestmark = pytest.mark.slow
WORK = '/v1/completions'
BODY = {'model': 'm', 'prompt': 'ab'}


class Fake:
  """A server that is full, or streams two events, the second when it is let go."""

  def __init__(self, is_full=False):
    self.is_full, self.hosts = is_full, []
    self.goes_on = None

  def app(self):
    return Starlette(routes=[
      Route(WORK, self._answer, methods=['POST']), Route('/admin/reload', self._all),
      Route('/go', self._go),
    ])  # fmt: skip

  async def _all(self, request):
    return Response()

  async def _answer(self, request):
    await request.body()
    self.hosts.append(request.headers['host'])
    if self.is_full:
      return JSONResponse({}, 503, {'retry-after': '1'})
    self.goes_on = asyncio.Event()
    return StreamingResponse(self._events(), media_type='text/event-stream')

  async def _events(self):
    yield 'data: one\n\n'
    await self.goes_on.wait()
    yield 'data: two\n\n'

  async def _go(self, request):
    self.goes_on.set()
    return Response()


@contextlib.contextmanager
def balanced_fakes(folder, *fakes):
  with contextlib.ExitStack() as stack:
    urls = [stack.enter_context(serving(fake.app())) for fake in fakes]
    ports = [urllib.parse.urlsplit(url).port for url in urls]
    yield stack.enter_context(balanced(ports, folder)), urls


def test_tokens_come_through_a_balancer_as_they_are_written(tmp_path):
  full, good = Fake(is_full=True), Fake()
  with balanced_fakes(tmp_path, full, good) as (url, (_, direct)):
    with httpx.stream('POST', url + WORK, json=BODY, timeout=20) as answer:
      pieces = answer.iter_text()
      assert next(pieces) == 'data: one\n\n'  # the second has not been written yet
      assert httpx.get(direct + '/go').status_code == 200
      assert ''.join(pieces) == 'data: two\n\n'


def test_a_full_server_is_passed_over_and_not_left_out(tmp_path):
  one, other = Fake(is_full=True), Fake(is_full=True)
  with balanced_fakes(tmp_path, one, other) as (url, _):
    for _ in range(6):
      answer = httpx.post(url + WORK, json=BODY)
      assert (answer.status_code, answer.headers['retry-after']) == (503, '1')
    assert len(one.hosts) == len(other.hosts) == 6  # both were asked each time


def test_servers_see_the_name_that_the_client_called(tmp_path):
  one, other = Fake(is_full=True), Fake(is_full=True)
  with balanced_fakes(tmp_path, one, other) as (url, _):
    httpx.post(url + WORK, json=BODY, headers={'host': 'elsewhere.example'})
    assert set(one.hosts + other.hosts) == {'elsewhere.example'}
    assert httpx.get(url + '/admin/reload').status_code == 404


def test_a_server_drains_behind_a_balancer_and_nothing_is_lost(tmp_path):
  workdir = servers.trained()
  with (
    servers.Server(tmp_path, workdir, '--drain_seconds=20') as one,
    servers.Server(tmp_path, workdir) as other,
    balanced((one.port, other.port), tmp_path) as url,
  ):
    ended = asyncio.run(_load(url, lambda: one.process.signal(signal.SIGTERM)))
    assert one.end(seconds=40) == 0
    assert len(ended) == 120 and set(ended) <= {'stop', 'length'}
    assert other.complete('ab', max_tokens=4).status == 200


async def _load(url, event, num_requests=120, clients=6):
  """Returns how each text ended; `event` happens after a third of them."""
  ended, numbers = [], iter(range(num_requests))
  async with openai.AsyncOpenAI(
    base_url=url + '/v1', api_key='none', max_retries=0
  ) as client:

    async def ask_on():
      for number in numbers:
        if number == num_requests // 3:
          event()
        answer = await client.completions.create(
          model=servers.MODEL, prompt=f'{number} words', max_tokens=40, seed=number,
          stream=bool(number % 2),
        )  # fmt: skip
        if number % 2:
          finishes = [e.choices[0].finish_reason async for e in answer]
          ended.append(finishes[-1])
        else:
          ended.append(answer.choices[0].finish_reason)

    await asyncio.gather(*(ask_on() for _ in range(clients)))
  return ended
