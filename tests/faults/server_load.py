"""Too many requests, slow clients and clients that go, while others must be served."""

import asyncio
import collections
import contextlib
import socket
import time

from tests.faults import runs, servers
from tests.faults.server_fuzz import MEGABYTE
from tests.faults.servers import CONTEXT, MODEL, QUEUE, SLOTS, WORK, Server

TIMES_CAPACITY = 16
LEAST_THROUGHPUT, MOST_SLOWER = 0.9, 2.0
NUM_PROMPTS = 24
PARTS = 4
TOKENS = 24  # of an answer


def overload(seconds, rng, folder):
  """Sixteen times as many clients as slots, for so many seconds."""
  del rng
  with Server(folder, servers.trained()) as server:
    return overload_server(server, seconds)


def overload_server(server, seconds):
  """Returns the row of an overload: statuses, answers as alone, throughput."""
  # Log-probabilities differ where texts of a small model agree.
  bodies = [_body(f'{n} words of', TOKENS, logprobs=1) for n in range(NUM_PROMPTS)]
  expected = [server.ask('POST', WORK, body).json['choices'] for body in bodies]
  few, many = Pressed(), Pressed()
  for _ in range(PARTS):  # in turns: other work on the machine slows down both
    asyncio.run(_press(few, server, bodies, SLOTS, seconds / PARTS / 2))
    asyncio.run(_press(many, server, bodies, TIMES_CAPACITY * SLOTS, seconds / PARTS))
  outcomes, wrong = collections.Counter(), []
  for number, answer in many.answers:
    outcomes[answer.status or 'LOST'] += 1
    if answer.status == 200 and answer.json['choices'] != expected[number]:
      wrong.append(f'another answer than alone: {answer.json["choices"]}')
    elif answer.status in (429, 503) and 'retry-after' not in answer.headers:
      wrong.append(f'{answer.status} without Retry-After')
    elif answer.status not in (200, 429, 503):
      wrong.append(f'{answer.status} {answer.content[:200]!r}')
  wrong += [f'HUNG: {many.hung}'] if many.hung else []
  if not server.wait_until_idle():
    wrong.append(f'afterwards: {server.probe()}')
  share = many.rate / few.rate
  if share < LEAST_THROUGHPUT:
    wrong.append(f'throughput {share:.0%} of that at {SLOTS} clients')
  refused = sorted(many.refused_seconds) or [0.0]
  soon, late = (1e3 * refused[int(q * len(refused))] for q in (0.5, 0.99))
  good = (
    f'{many.rate:.0f} answers/s at {TIMES_CAPACITY * SLOTS} clients, {few.rate:.0f} at'
    f' {SLOTS} ({share:.0%}); refused after {soon:.0f} ms (99 %: {late:.0f} ms); queue'
    f' of {QUEUE} empty afterwards'
  )
  return runs.row(
    f'{TIMES_CAPACITY} times as many clients as slots', outcomes, not wrong,
    '\n'.join([good, *wrong[:20]]),
  )  # fmt: skip


def _body(prompt, tokens, **options):
  return {
    'model': MODEL, 'prompt': prompt, 'max_tokens': tokens, 'temperature': 0, **options
  }  # fmt: skip


class Pressed:
  """What clients that ask again and again have got."""

  def __init__(self):
    self.answers, self.hung, self.seconds, self.refused_seconds = [], 0, 0.0, []

  @property
  def rate(self):
    """Answers a second."""
    return sum(a.status == 200 for _, a in self.answers) / max(self.seconds, 1e-9)


async def _press(found, server, bodies, num_clients, seconds):
  """Adds what clients get that send one request after another for some time."""
  end = time.monotonic() + seconds

  async def client(number):
    while time.monotonic() < end:
      number = (number + 1) % len(bodies)
      began = time.monotonic()
      try:
        answer = await servers.ask_async(server.port, bodies[number])
      except TimeoutError:
        found.hung += 1
        continue
      found.answers.append((number, answer))
      if answer.status != 200:
        found.refused_seconds.append(time.monotonic() - began)
        await asyncio.sleep(min(2.0, float(answer.headers.get('retry-after', 0.1))))

  began = time.monotonic()
  await asyncio.gather(*(client(number) for number in range(num_clients)))
  found.seconds += time.monotonic() - began


SLOW_SECONDS = 60
ROUND_SECONDS = 2  # between two bytes of a slow socket
STREAMS_A_ROUND = 6  # begun by clients that will not read, so that others get slots too


def drip(count, rng, folder):
  """So many sockets that send headers or bodies byte by byte, or do not read."""
  del rng
  with Server(folder, servers.trained()) as server:
    return drip_into(server, count, SLOW_SECONDS)


def drip_into(server, count, seconds):
  """Returns the row of slow sockets beside a client that is in a normal hurry."""
  idle = _latencies(server, 20, pause=0.1)
  before = server.resident_bytes()
  num_deaf = count // 3
  clients: list = [
    (SlowHeaders, SlowBody)[number % 2](server.port)
    for number in range(count - num_deaf)
  ]
  busy, wrong, end = [], [], time.monotonic() + seconds
  while time.monotonic() < end:
    began = time.monotonic()
    for number, client in enumerate(clients):
      client.go_on()
      if number % max(1, count // 4) == 0:
        try:
          busy += _latencies(server, 1)
        except (OSError, AssertionError) as error:
          wrong.append(f'the normal client: {error}')
    for _ in range(min(STREAMS_A_ROUND, count - len(clients))):
      clients.append(Deaf(server.port))
    time.sleep(max(0.0, min(ROUND_SECONDS, end - began) - time.monotonic() + began))
  grown = (server.resident_bytes() - before) / MEGABYTE
  outcomes = collections.Counter()
  for client in clients:
    client.close()
    outcomes.update(client.outcomes)
  if not server.wait_until_idle():
    wrong.append(f'afterwards: {server.probe()}')
  ratio = _median(busy) / _median(idle)
  if ratio > MOST_SLOWER:
    wrong.append(f'latency {ratio:.1f} times that without slow sockets')
  good = (
    f'{count} at a time; {len(busy)} requests of a normal client, all answered; latency'
    f' {_median(idle):.0f} ms idle, {_median(busy):.0f} ms beside them ({ratio:.2f}x);'
    f' memory {grown:+.1f} MiB'
  )
  return runs.row(
    f'slow sockets for {seconds:.0f} s', outcomes, not wrong, '\n'.join([good, *wrong])
  )


class SlowClient:
  """A socket that keeps a server waiting; begins anew when it is thrown out."""

  def __init__(self, port):
    self._port, self.outcomes = port, collections.Counter()
    self._open()

  def _open(self):
    self._socket = socket.socket()
    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    self._socket.settimeout(10)
    self._socket.connect(('127.0.0.1', self._port))
    self._socket.sendall(self.first)
    self._socket.setblocking(False)

  @property
  def first(self):
    """What it sends at once."""
    return (
      f'POST {WORK} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'
    ).encode()

  def go_on(self):
    """Sends a byte; where the server has answered or closed, it begins anew."""
    try:
      self._socket.send(b'x')
      answer = self._socket.recv(1 << 16)
    except BlockingIOError:
      return  # the server waits
    except OSError:
      answer = b''
    status = answer[9:12].decode() or 'closed'
    self.outcomes[f'{type(self).__name__}: {status}'] += 1
    self._socket.close()
    self._open()

  def close(self):
    self.outcomes[f'{type(self).__name__}: open at the end'] += 1
    self._socket.close()


class SlowHeaders(SlowClient):
  """Sends one header without end."""

  @property
  def first(self):
    return super().first + b'a: '


class SlowBody(SlowClient):
  """Sends a body byte by byte."""

  @property
  def first(self):
    return super().first + b'content-length: 100000\r\n\r\n'


class Deaf(SlowClient):
  """Asks for a long stream and reads nothing of it."""

  @property
  def first(self):
    body = _body('some words', 300, stream=True, logprobs=5)
    return servers.request_bytes(body)

  def go_on(self):
    """It has nothing to say."""

  def close(self):
    self._socket.settimeout(1)
    content = b''
    with contextlib.suppress(OSError):
      while not content.endswith(b'[DONE]\n\n') and (piece := self._socket.recv(9999)):
        content += piece
    end = 'whole' if content.endswith(b'[DONE]\n\n') else 'cut off'
    self.outcomes[f'Deaf: {content[9:12].decode() or "closed"} {end}'] += 1
    self._socket.close()


def _latencies(server, count, pause=0.0):
  """Returns milliseconds of requests that have to be answered with 200."""
  found = []
  for _ in range(count):
    time.sleep(pause)
    began = time.monotonic()
    answer = server.complete('some words', max_tokens=8)
    assert answer.status == 200, answer
    found.append(1e3 * (time.monotonic() - began))
  return found


def _median(values):
  return sorted(values)[len(values) // 2] if values else float('nan')


def disconnect(count, rng, folder):
  """Clients that go in the middle of streams."""
  with Server(folder, servers.trained()) as server:
    return disconnect_from(server, count, rng)


def disconnect_from(server, count, rng):
  """Returns the row of streams that are closed by their clients, SLOTS at a time."""
  outcomes, wrong = collections.Counter(), []
  for first in range(0, count, SLOTS):
    streams = [_open_stream(server.port) for _ in range(min(SLOTS, count - first))]
    for connection in streams:
      pieces = rng.randint(0, 2)
      with contextlib.suppress(OSError):
        for _ in range(pieces):
          connection.recv(256)
      if rng.random() < 0.5:  # a reset instead of an end
        linger = b'\1\0\0\0\0\0\0\0'
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
      outcomes[f'closed after {pieces} pieces'] += 1
      connection.close()
    if not server.wait_until_idle():
      wrong.append(f'slots are still in use: {server.probe()}')
      break
  longest = server.probe()['longest_end']
  if longest > 1:
    wrong.append(f'a text went on for {longest} steps after it was cancelled')
  _latencies(server, 1)
  good = (
    f'all {SLOTS} slots free after each; at most {longest} step after the cancelling'
  )
  return runs.row(
    'clients that go in the middle of a stream', outcomes, not wrong,
    '\n'.join([good, *wrong]),
  )  # fmt: skip


def _open_stream(port):
  connection = socket.create_connection(('127.0.0.1', port), timeout=30)
  body = _body('some', CONTEXT - 8, stream=True, n=1)
  connection.sendall(servers.request_bytes(body))
  return connection
