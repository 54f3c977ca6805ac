"""Requests that are no requests: a fuzzer of raw sockets, and sizes without end."""

import collections
import random
import threading
import time

from tests.faults import malformed, runs, servers
from tests.faults.servers import WORK, Server

SECONDS = 30  # after which a request without an answer counts as hung
READ_SECONDS = 2  # of the fuzzed server: unfinished headers and bodies end sooner
WARM_UP = 500  # requests of the fuzzer before memory is measured
MEGABYTE = 1 << 20


def fuzz(count, rng, folder):
  """Malformed requests from four clients, while /healthz is watched."""
  with Server(folder, servers.trained(), f'--read_seconds={READ_SECONDS}') as server:
    return fuzz_server(server, count, rng)


def fuzz_server(server, count, rng):
  """Returns the row of `count` malformed requests to a running server."""
  outcomes, wrong = collections.Counter(), []
  _fuzz_part(server, min(WARM_UP, count), rng, collections.Counter(), [])
  before = server.resident_bytes()
  with Watch(server) as watch:
    clients = [
      threading.Thread(
        target=_fuzz_part,
        args=(server, count // 4, random.Random(rng.random()), outcomes, wrong),
      )
      for _ in range(4)
    ]
    for client in clients:
      client.start()
    for client in clients:
      client.join()
  grown = (server.resident_bytes() - before) / MEGABYTE
  if not server.process.is_running():
    wrong.append(f'the server has ended: {server.log()[-2000:]}')
  elif server.complete('some words', max_tokens=1).status != 200:
    wrong.append('the server no longer answers')
  if grown >= 20:
    wrong.append(f'its memory grew by {grown:.1f} MiB')
  if 'Traceback' in server.log():
    wrong.append(f'its log has a traceback: {server.log()[-1500:]}')
  good = f'{watch.summary()}; memory {grown:+.1f} MiB'
  return runs.row(
    'malformed requests', outcomes, not wrong and not watch.failed,
    '\n'.join([good, *wrong]),
  )  # fmt: skip


def _fuzz_part(server, count, rng, outcomes, wrong):
  for _ in range(count):
    request = malformed.make(rng)
    try:
      answer = servers.send_raw(
        server.port, request.pieces, request.ends, SECONDS, pause=0
      )
    except TimeoutError:
      outcomes['HUNG'] += 1
      wrong.append(f'hung: {request}'[:500])
      continue
    except OSError as error:
      outcomes['no connection'] += 1
      wrong.append(f'{error}: {request}'[:500])
      continue
    outcomes[answer.status or 'closed'] += 1
    is_refused = answer.status is not None and 400 <= answer.status < 500
    if not is_refused and not (answer.status is None and request.ends):
      wrong.append(f'{answer.status} {answer.content[:200]!r} for {request}'[:700])


class Watch:
  """Asks /healthz all the while; a context manager."""

  def __init__(self, server, every=0.02):
    self._server, self._every = server, every
    self.seconds, self.failed, self._is_over = [], 0, threading.Event()
    self._thread = threading.Thread(target=self._run)

  def _run(self):
    while not self._is_over.wait(self._every):
      began = time.monotonic()
      try:
        self.failed += self._server.ask('GET', '/healthz', seconds=10).status != 200
      except OSError:
        self.failed += 1
      self.seconds.append(time.monotonic() - began)

  def quantile(self, share):
    """Returns the latency in milliseconds that this share does not exceed."""
    ordered = sorted(self.seconds) or [0.0]
    return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

  def summary(self):
    return (
      f'/healthz {len(self.seconds)} times, {self.failed} failed, median'
      f' {self.quantile(0.5):.0f} ms, 99 % in {self.quantile(0.99):.0f} ms'
    )

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *_):
    self._is_over.set()
    self._thread.join()


def send_sizes(count, rng, folder):
  """Bodies that claim 10 GB, endless chunks, and long headers."""
  del rng
  with Server(folder, servers.trained()) as server:
    return send_sizes_to(server, count)


def send_sizes_to(server, count):
  """Returns the row of oversized requests, `count` of each kind."""
  outcomes, wrong = collections.Counter(), []
  head = (
    f'POST {WORK} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'
  )
  chunk = b'10000\r\n' + b' ' * 65536 + b'\r\n'
  cases = {
    '10 GB claimed': (f'{head}content-length: {10**10}\r\n\r\n'.encode(), 413),
    '10 GB claimed, some sent': (
      [f'{head}content-length: {10**10}\r\n\r\n'.encode(), *[b' ' * 65536] * 30], 413,
    ),
    'chunks without end': (
      [f'{head}transfer-encoding: chunked\r\n\r\n'.encode(), *[chunk] * 30], 413,
    ),
    'a header of 17 KB': (f'{head}a: {"x" * 17_000}\r\n\r\n'.encode(), 431),
    'a header of 1 MB': (f'{head}a: {"x" * MEGABYTE}\r\n\r\n'.encode(), 431),
    'headers without end': ([head.encode(), *[b'a: b\r\n' * 500] * 60], 431),
    'a path of 1 MB': (b'GET /' + b'x' * MEGABYTE + b' HTTP/1.1\r\n\r\n', 431),
  }  # fmt: skip
  for content, _ in cases.values():
    servers.send_raw(server.port, content)
  before = server.resident_bytes()
  for _ in range(count):
    for name, (content, expected) in cases.items():
      status = servers.send_raw(server.port, content).status
      outcomes[status] += 1
      # None: it had closed while more was being sent; the answer was lost with that.
      if status != expected and not (status is None and not isinstance(content, bytes)):
        wrong.append(f'{name}: {status}')
  grown = (server.resident_bytes() - before) / MEGABYTE
  if grown >= 5:
    wrong.append(f'its memory grew by {grown:.1f} MiB')
  return runs.row(
    'oversized bodies and headers', outcomes, not wrong,
    '\n'.join([f'memory {grown:+.1f} MiB', *wrong]),
  )  # fmt: skip
