"""Bodies of requests: read within limits of size and time, parsed without leniency."""

import asyncio
import json
import math
import re

from gpt_jax.serving.errors import ApiError, invalid

MAX_DEPTH = 64
_SURROGATE = re.compile(rb'\\u[dD][89a-fA-F]')


async def read(receive, headers, max_bytes, seconds):
  """Returns the body of a request; `headers` are those of ASGI.

  Raises ApiError 400, 411 or 413 for what is declared, before anything is read, and 408
  where it does not come in time.
  """
  values = {}
  for name, value in headers:
    values.setdefault(name, []).append(value)
  lengths = values.get(b'content-length', [])
  is_chunked = b'transfer-encoding' in values
  if is_chunked and lengths:
    raise _closing(400, 'content-length and transfer-encoding: expected one of them.')
  if not is_chunked and not lengths:
    raise _closing(411, 'content-length: missing; send the length of the body.')
  if lengths and int(lengths[0]) > max_bytes:
    raise _too_large(max_bytes, int(lengths[0]))
  kind = values.get(b'content-type', [b''])[0].split(b';')[0].strip().lower()
  if kind != b'application/json':
    # A page of another origin can send text/plain without asking; JSON it cannot.
    raise _closing(415, 'content-type: expected application/json.')
  body = bytearray()
  try:
    async with asyncio.timeout(seconds):
      while True:
        message = await receive()
        if message['type'] == 'http.disconnect':
          raise Disconnected
        body += message.get('body', b'')
        if len(body) > max_bytes:
          raise _too_large(max_bytes, len(body))
        if not message.get('more_body'):
          return bytes(body)
  except TimeoutError:
    raise _closing(
      408, f'The body of the request did not come within {seconds:g} seconds.'
    ) from None


class Disconnected(Exception):
  """The client has gone."""


def _too_large(limit, size):
  return _closing(
    413, f'The body of the request has {size:,} bytes; at most {limit:,} are read.'
  )


def _closing(status, message):
  # What else comes is not read.
  return ApiError(status, message, headers={'connection': 'close'})


class _NoNumber:
  """A number that JSON does not have."""

  def __init__(self, text):
    self.text = text


def parse(content):
  """Returns the dict of a body. Raises ApiError 400, which names the field."""
  try:
    found = json.loads(
      content.decode('utf-8'),
      parse_constant=_NoNumber, parse_float=_number, parse_int=_whole,
      object_pairs_hook=_no_twice,
    )  # fmt: skip
  except UnicodeDecodeError as error:
    raise ApiError(400, f'The body is no UTF-8: byte {error.start}.') from None
  except RecursionError:
    raise ApiError(400, f'The body is nested deeper than {MAX_DEPTH}.') from None
  except ValueError as error:
    raise ApiError(400, f'The body is no JSON: {str(error)[:200]}.') from None
  if not isinstance(found, dict):
    raise ApiError(400, 'The body: expected a JSON object, {"model": ...}.')
  _check(found, has_escapes=bool(_SURROGATE.search(content)))
  return found


def _number(text):
  found = float(text)
  return found if math.isfinite(found) else _NoNumber(text)


def _whole(text):
  if len(text) > 20:  # of 64 bits, with its sign
    return _NoNumber(text)
  return int(text)


def _no_twice(pairs):
  found = dict(pairs)
  if len(found) < len(pairs):
    seen = set()
    name = next(n for n, _ in pairs if n in seen or seen.add(n))
    raise invalid(_printable(name), 'stands twice in one object.')
  return found


def _check(found, has_escapes):
  """Raises ApiError 400 for what is too deep, no number, or no text."""
  todo = [('', 0, found)]
  while todo:
    path, depth, value = todo.pop()
    if isinstance(value, _NoNumber):
      raise invalid(path, f'{value.text[:24]} is no number that JSON and we know.')
    if isinstance(value, str):
      if has_escapes and not _is_text(value):
        raise invalid(path, 'has half of a surrogate pair, which is no character.')
      continue
    if not isinstance(value, dict | list):
      continue
    if depth >= MAX_DEPTH:
      raise invalid(path, f'is nested deeper than {MAX_DEPTH}.')
    if isinstance(value, dict):
      for name, each in value.items():
        if has_escapes and not _is_text(name):
          raise invalid(path or 'body', 'has a name with half of a surrogate pair.')
        todo.append((f'{path}.{name}' if path else name, depth + 1, each))
    elif not _is_plain(value):
      todo += [(f'{path}[{i}]', depth + 1, each) for i, each in enumerate(value)]


def _is_plain(values):
  # Long lists of token ids.
  return all(type(value) is int for value in values)


def _is_text(text):
  try:
    text.encode()
  except UnicodeEncodeError:
    return False
  return True


def _printable(text):
  return text.encode('utf-8', 'backslashreplace').decode()[:80]
