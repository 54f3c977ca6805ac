"""A client of `/v1/completions` that costs little: one streamed answer, timed.

Plain HTTP/1.1 on asyncio's streams, so that a load generator does not take the cores of
what it measures.
"""

import asyncio
import dataclasses
import json
import time
import urllib.parse

NO_ANSWER = 0
"""The status of a request whose connection failed, broke off, or took too long."""
OK = 200


@dataclasses.dataclass(frozen=True)
class Answer:
  """What became of a request."""

  address: str
  status: int
  """Of HTTP; NO_ANSWER also where a stream ended before its end."""
  seconds: float
  first_token_seconds: float | None = None
  new_tokens: int = 0
  retry_after: float = 0.0
  """Seconds that the server told to wait, where it refused."""


async def ask(address, body, *, key=None, timeout_seconds=120.0):
  """Returns the Answer of a server at `address`, such as http://127.0.0.1:8000.

  `body`: that of a completion; it is streamed and its usage told. Never raises for what
  a server or a network does.
  """
  started = time.monotonic()
  try:
    async with asyncio.timeout(timeout_seconds):
      return await _ask(address, body, key, started)
  except (OSError, TimeoutError, EOFError, ValueError):
    return Answer(address, NO_ANSWER, time.monotonic() - started)


async def get(address, path, timeout_seconds=5.0):
  """Returns the status of a GET; NO_ANSWER where there is none."""
  try:
    async with asyncio.timeout(timeout_seconds):
      reader, writer = await _open(address)
      try:
        writer.write(_head('GET', address, path))
        status, _ = await _read_head(reader)
        return status
      finally:
        writer.close()
  except (OSError, TimeoutError, EOFError, ValueError):
    return NO_ANSWER


async def _ask(address, body, key, started):
  content = json.dumps(
    body | {'stream': True, 'stream_options': {'include_usage': True}}
  ).encode()
  reader, writer = await _open(address)
  try:
    writer.write(_head('POST', address, '/v1/completions', len(content), key) + content)
    status, headers = await _read_head(reader)
    if status != OK:
      wait = float(headers.get('retry-after', 0))
      return Answer(address, status, time.monotonic() - started, retry_after=wait)
    return await _read_events(reader, address, started)
  finally:
    writer.close()


async def _open(address):
  parts = urllib.parse.urlsplit(address)
  return await asyncio.open_connection(parts.hostname, parts.port or 80)


def _head(method, address, path, length=None, key=None):
  lines = [
    f'{method} {path} HTTP/1.1',
    f'Host: {urllib.parse.urlsplit(address).netloc}',
    'Connection: close',
  ]
  if length is not None:
    lines += ['Content-Type: application/json', f'Content-Length: {length}']
  if key is not None:
    lines.append(f'Authorization: Bearer {key}')
  return '\r\n'.join([*lines, '', '']).encode()


async def _read_head(reader):
  """Returns (status, headers in small letters)."""
  lines = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1').split('\r\n')
  pairs = (line.partition(':') for line in lines[1:] if ':' in line)
  headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
  return int(lines[0].split()[1]), headers


async def _read_events(reader, address, started):
  first, tokens = None, 0
  async for event in _events(reader):
    if 'error' in event:
      return Answer(address, NO_ANSWER, time.monotonic() - started, first, tokens)
    if first is None and any(choice.get('text') for choice in event['choices']):
      first = time.monotonic() - started
    if event.get('usage'):
      tokens = event['usage']['completion_tokens']
  return Answer(address, OK, time.monotonic() - started, first, tokens)


async def _events(reader):
  """Yields the JSON of each event up to [DONE]; EOFError where there is none."""
  rest = b''
  while True:
    size = int(await reader.readuntil(b'\r\n'), 16)  # of a chunk
    if not size:
      raise EOFError
    rest += (await reader.readexactly(size + 2))[:-2]
    *lines, rest = rest.split(b'\n')
    for line in lines:
      if line.startswith(b'data: [DONE]'):
        return
      if line.startswith(b'data: '):
        yield json.loads(line[6:])
