"""A server starts, drains, reloads and dies as it should; raw sockets do it no harm."""

import json
import socket
import threading
import time
import types

import httpx
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.serving import server as server_of
from gpt_jax.serving.hooks import Hooks
from gpt_jax.serving.settings import Settings
from tests.serving import served


def send(server, content, wait=5.0):
  """Returns all that a server answers to raw bytes."""
  with socket.create_connection((server.host, server.port), timeout=wait) as raw:
    raw.sendall(content)
    found = b''
    try:
      while part := raw.recv(65536):
        found += part
        if b'\r\n\r\n' in found and b'connection: close' not in found:
          break
    except TimeoutError:
      pass
    return found


HEAD = b'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n'
JSON = b'content-type: application/json\r\n'


@pytest.mark.parametrize(
  'content, status',
  [
    (b'nonsense\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\n\r\n', 400),  # no host
    (HEAD + JSON + b'content-length: -1\r\n\r\n', 400),
    (HEAD + JSON + b'content-length: x\r\n\r\n', 400),
    (HEAD + JSON + b'content-length: 1\r\ncontent-length: 2\r\n\r\n', 400),
    (HEAD + JSON + b'content-length: 10000000000\r\n\r\n', 413),
    (HEAD + JSON + b'\r\n', 411),
    (HEAD + b'content-length: 2\r\n\r\n{}', 415),
    (HEAD + JSON + b'transfer-encoding: gzip\r\n\r\n', 400),
    (HEAD + JSON + b'transfer-encoding: chunked\r\n\r\nzz\r\n', 400),
    (HEAD + b'x: ' + b'y' * 20_000 + b'\r\n\r\n', 431),
    (HEAD + b'x: ' + b'y' * 200_000, 431),
    (b'GET /healthz HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n'
     b'connection: upgrade\r\n\r\n', 200),
  ],
)  # fmt: skip
def test_malformed_requests_have_their_status(server, content, status):
  found = send(server, content)
  assert found.startswith(f'HTTP/1.1 {status} '.encode()), found[:200]
  if status != 200:
    assert b'connection: close' in found.lower()
    body = json.loads(found.partition(b'\r\n\r\n')[2])
    assert set(body['error']) == {'message', 'type', 'param', 'code'}
  assert served.http.get(server.url + '/healthz').status_code == 200


def test_slow_headers_and_bodies_are_ended():
  with served.serve(read_seconds=0.3) as server:
    began = time.monotonic()
    for content in (HEAD, b'', HEAD + JSON + b'content-length: 9\r\n\r\n{'):
      assert send(server, content).startswith(b'HTTP/1.1 408 ')
    assert time.monotonic() - began < 10
    with socket.create_connection((server.host, server.port)) as raw:
      raw.sendall(b'GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /heal')
      found = b''
      while part := raw.recv(65536):
        found += part
    assert found.count(b'HTTP/1.1 200') == 1 and found.count(b'HTTP/1.1 408') == 1


def test_connections_above_the_cap_are_told_to_wait():
  with served.serve(max_connections=3) as server:
    address = server.host, server.port
    held = [socket.create_connection(address) for _ in range(3)]
    served.wait_until(lambda: len(server.server.server_state.connections) == 3)
    assert send(server, b'').startswith(b'HTTP/1.1 503 ')
    for raw in held:
      raw.close()
    served.wait_until(lambda: not server.server.server_state.connections)
    assert served.http.get(server.url + '/healthz').status_code == 200


def test_a_stop_lets_requests_end():
  with served.serve() as server:
    found, are_all_there = [], threading.Event()
    scheduler = server.scheduler()
    step = scheduler.step
    scheduler.step = lambda: are_all_there.wait(20) and step()

    def ask():
      found.append(server.post('/v1/completions', prompt='ab', max_tokens=60, n=4))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
      thread.start()
    served.wait_until(lambda: len(scheduler._tasks) == 12)
    are_all_there.set()
    assert server.stop() == 0
    for thread in threads:
      thread.join(20)
    assert [response.status_code for response in found] == [200] * 3
    with pytest.raises(httpx.ConnectError):
      served.http.get(server.url + '/healthz')


def test_what_takes_longer_than_the_drain_is_ended():
  with served.serve(drain_seconds=0.1) as server:
    scheduler = server.scheduler()
    scheduler.step = lambda: time.sleep(0.05) or True  # it never gets on
    found = []
    thread = threading.Thread(
      target=lambda: found.append(server.post('/v1/completions', prompt='ab'))
    )
    thread.start()
    served.wait_until(lambda: scheduler._tasks)
    assert server.stop() == 0
    thread.join(20)
    assert found[0].status_code == 503
    assert found[0].json()['error']['code'] == 'stopping'


class Poison:
  """A guide that fails at its third token."""

  masks = False
  tokens = 0

  def start(self, prompt_ids):
    return Poison()

  def take(self, token_id):
    self.tokens += 1
    if self.tokens == 3:
      raise RuntimeError('poisoned')
    return False


def test_a_failing_request_fails_alone(capsys):
  with served.serve() as server:
    texts = server.models.get(served.NAME).model.texts
    read = texts._scheduler._read

    def poisoned(prompt, options):
      asked, (request,) = read(prompt, options)
      if prompt == 'poison':
        import dataclasses

        request = dataclasses.replace(request, guides=(Poison(),))
      return asked, [request]

    texts._scheduler._read = poisoned
    found = {}

    def ask(prompt):
      found[prompt] = server.post('/v1/completions', prompt=prompt, max_tokens=40)

    threads = [threading.Thread(target=ask, args=(p,)) for p in ('a', 'poison', 'b')]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join(30)
    statuses = {prompt: response.status_code for prompt, response in found.items()}
    assert statuses == {'a': 200, 'poison': 500, 'b': 200}
    error = found['poison'].json()['error']
    assert found['poison'].headers['x-request-id'] in error['message']
    assert 'poisoned' not in error['message']
    assert served.http.get(server.url + '/healthz').status_code == 200
  assert 'poisoned' in capsys.readouterr().err


def test_a_dead_engine_ends_the_server(capsys):
  with served.serve() as server:
    scheduler = server.scheduler()

    def fail():
      raise RuntimeError('the device is lost')

    scheduler._read = fail
    codes = set()
    for _ in range(3):  # one step may fail, three in a row may not
      try:
        codes.add(server.post('/v1/completions', prompt='ab').status_code)
      except httpx.HTTPError:
        break
    assert 500 in codes
    server._thread.join(20)
    assert server.code == 1
  assert 'the device is lost' in capsys.readouterr().err


@pytest.mark.slow
def test_a_reload_loses_no_request():
  steps = iter([1, 2])
  loaded = served.models(
    load=lambda *args: served.load(*args, run=served.run_of(next(steps)))
  )
  loaded._newest = lambda path: 2
  with served.serve(loaded) as server:
    old, found = server.models.get(served.NAME).model, []

    def ask():
      found.append(server.post('/v1/completions', prompt='ab', max_tokens=60, n=4))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
      thread.start()
    served.wait_until(lambda: old.num_requests)
    response = served.http.post(server.url + '/admin/reload')
    assert response.json()['reloaded'] == [
      {'model': served.NAME, 'old_step': 1, 'new_step': 2}
    ]
    for thread in threads:
      thread.join(30)
    assert [one.status_code for one in found] == [200] * 3
    (card,) = served.http.get(server.url + '/v1/models').json()['data']
    assert card['step'] == 2
    served.wait_until(lambda: old.texts.raw._is_closed)  # freed when idle
    assert served.http.post(server.url + '/admin/reload').json()['reloaded'] == [
      {'model': served.NAME, 'old_step': 2, 'new_step': 2}
    ]
    assert server.complete('ab', max_tokens=2)['choices']


def test_a_port_in_use_is_told_before_anything_is_loaded():
  sock = server_of.bind('127.0.0.1', 0)
  sock.listen()
  port = sock.getsockname()[1]
  with pytest.raises(ConfigError, match=f'--port={port}: in use'):
    server_of.bind('127.0.0.1', port)
  sock.close()
  with pytest.raises(ConfigError, match='no address of this machine'):
    server_of.bind('256.1.1.1', 80)


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.168.1.5', 'example.com'])
def test_an_address_that_others_reach_needs_keys(host):
  keys = types.SimpleNamespace(has_keys=lambda: False)
  for hooks in (Hooks(), Hooks(keys=keys)):
    with pytest.raises(ConfigError, match='there are no keys'):
      server_of.require_keys(Settings(host=host), hooks)
  keys.has_keys = lambda: True
  server_of.require_keys(Settings(host=host), Hooks(keys=keys))


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost', '::1', '127.0.0.9'])
def test_loopback_needs_no_keys(host):
  server_of.require_keys(Settings(host=host), Hooks())
