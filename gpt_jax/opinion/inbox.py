"""The HTTP side of a monitor: POST /events, JSON lines or a list, to the journal.

It listens on this machine alone: a proxy before it says who may send.
"""

import asyncio
import json
import threading
import time

from gpt_jax.core import extras
from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.opinion import events

HOST = '127.0.0.1'
MAX_BODY = 4 << 20
BODY_SECONDS = 20.0
MAX_BACKLOG = 256 << 20
"""Bytes that wait to be counted, from which on senders are told to wait."""
USE = 'gpt-jax monitor --port'


def make_app(journal, page=lambda: ''):
  """Returns the Starlette application. `page`: the HTML of GET /, '' while none."""
  app = extras.load(
    'starlette.applications', extra='serve', package='starlette', use=USE
  )
  from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
  from starlette.routing import Route

  async def post(request):
    if journal.backlog() > MAX_BACKLOG:
      return JSONResponse(
        {'error': 'too many texts wait; send them again later'},
        503,
        {'Retry-After': '5'},
      )
    try:
      body = await asyncio.wait_for(_body(request), BODY_SECONDS)
    except TimeoutError:
      return JSONResponse({'error': f'no body within {BODY_SECONDS:g} s'}, 408)
    except _TooLarge:
      return JSONResponse({'error': f'more than {MAX_BODY:,} bytes'}, 413)
    good, bad = sort_lines(body, time.time())
    try:
      if good:
        await asyncio.to_thread(journal.append, good)
    except StorageError as error:
      return JSONResponse({'error': str(error)}, 507)
    return JSONResponse({'accepted': len(good), 'bad': bad}, 200 if good else 400)

  async def health(request):
    return PlainTextResponse('ok\n')

  async def shown(request):
    return HTMLResponse(page() or '<!doctype html><p>No bucket is complete yet.')

  return app.Starlette(
    routes=[
      Route('/events', post, methods=['POST']),
      Route('/healthz', health),
      Route('/', shown),
    ]
  )


class _TooLarge(Exception):
  pass


async def _body(request):
  content = bytearray()
  async for chunk in request.stream():
    content += chunk
    if len(content) > MAX_BODY:
      raise _TooLarge
  return bytes(content)


def sort_lines(body, now):
  """Returns (lines to keep, [{line, why}] of the others) of a request's body.

  A body is one JSON object or a list of them, or an object a line. Lines without a time
  get that of their arrival, `now`.
  """
  good, bad = [], []
  for number, line in enumerate(_lines(body), start=1):
    try:
      found = events.parse(line, now)
    except events.BadLine as error:
      bad.append({'line': number, 'why': str(error)})
      continue
    if not found.has_time:
      line = json.dumps(json.loads(line) | {'arrived': now}).encode()
    good.append(line)
  return good, bad


def _lines(body):
  try:
    found = json.loads(body)
  except (ValueError, RecursionError):
    return [line for line in body.splitlines() if line.strip()]
  them = found if isinstance(found, list) else [found]
  return [json.dumps(one).encode() for one in them]


class Server:
  """The application on a port, in a thread; `stop` ends it."""

  def __init__(self, app, port):
    """Listens at once. Raises ConfigError where the port is in use."""
    uvicorn = extras.load('uvicorn', extra='serve', package='uvicorn', use=USE)
    config = uvicorn.Config(
      app, host=HOST, port=port, log_level='error', limit_concurrency=64,
      timeout_keep_alive=5,
    )  # fmt: skip
    try:
      self._socket = _bind(port)
    except OSError as error:
      raise ConfigError(
        f'--port={port}: {error.strerror or error}; give a port that is free.'
      ) from error
    self.port = self._socket.getsockname()[1]
    self._server = uvicorn.Server(config)
    self._thread = threading.Thread(
      target=self._server.run, kwargs=dict(sockets=[self._socket]), daemon=True
    )
    self._thread.start()

  def stop(self):
    self._server.should_exit = True
    self._thread.join(timeout=10)
    self._socket.close()


def _bind(port):
  import socket

  found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
  found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    found.bind((HOST, port))
    found.listen(64)  # who is told the port connects before uvicorn takes over
  except OSError:
    found.close()
    raise
  return found
