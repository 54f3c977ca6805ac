"""A server with the routes that the chat page calls, which answers as it is told."""

import asyncio
import contextlib
import json
import socket
import threading

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gpt_jax.serving import chat_page

CHAT, PLAIN = ('chat', 'completions'), ('completions',)


class FakeServer:
  """Answers with `pieces`, one after another; change its attributes while it runs."""

  def __init__(self):
    self.models = {'small-chat': CHAT, 'plain': PLAIN}
    self.pieces = ['Hello', ' there', '!']
    self.delay = 0.0
    self.key = None
    self.failure = None  # (status, message, headers) of the next answer
    self.breaks_off = False
    self.requests = []  # (path, body, headers)
    self.gone = 0  # clients that left before the end

  def app(self):
    routes = [Route(path, self._file) for path in chat_page.FILES]
    routes += [
      Route('/v1/models', self._models),
      Route('/v1/completions', self._write, methods=['POST']),
      Route('/v1/chat/completions', self._write, methods=['POST']),
    ]
    return Starlette(routes=routes)

  async def _file(self, request):
    name, kind = chat_page.FILES[request.url.path]
    return Response(chat_page.read(name), 200, dict(chat_page.HEADERS), kind)

  def _refusal(self, request):
    if self.key and request.headers.get('authorization') != f'Bearer {self.key}':
      return _error(401, 'The key is not valid.', {})
    return None

  async def _models(self, request):
    data = [
      {'id': name, 'step': 1500, 'context': 2048, 'abilities': list(abilities)}
      for name, abilities in self.models.items()
    ]
    return self._refusal(request) or JSONResponse({'object': 'list', 'data': data})

  async def _write(self, request):
    body = await request.json()
    self.requests.append((request.url.path, body, dict(request.headers)))
    if (refusal := self._refusal(request)) is not None:
      return refusal
    if self.failure is not None:
      failure, self.failure = self.failure, None
      return _error(*failure)
    is_chat = request.url.path == '/v1/chat/completions'
    return StreamingResponse(self._events(is_chat), media_type='text/event-stream')

  async def _events(self, is_chat):
    is_over = False
    try:
      for piece in self.pieces:
        yield _event(_choice(is_chat, piece, None))
        await asyncio.sleep(self.delay)
      if self.breaks_off:
        is_over = True
        return
      yield _event(_choice(is_chat, '', 'stop'))
      usage = {'prompt_tokens': 5, 'completion_tokens': len(self.pieces)}
      yield _event({'choices': [], 'usage': usage})
      yield 'data: [DONE]\n\n'
      is_over = True
    finally:
      self.gone += not is_over


def _choice(is_chat, piece, finish):
  text = {'delta': {'content': piece}} if is_chat else {'text': piece}
  return {'choices': [{'index': 0, 'finish_reason': finish, **text}], 'usage': None}


def _event(value):
  return f'data: {json.dumps(value)}\n\n'


def _error(status, message, headers):
  return JSONResponse({'error': {'message': message}}, status, headers)


@contextlib.contextmanager
def serving(app):
  """Runs an ASGI app in a thread; yields its address."""
  listener = socket.create_server(('127.0.0.1', 0))
  # uvicorn's own logging would end absl's handler, which closes what pytest captures.
  config = uvicorn.Config(app, log_config=None, log_level='error', lifespan='off')
  server = uvicorn.Server(config)
  thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
  thread.start()
  try:
    yield f'http://127.0.0.1:{listener.getsockname()[1]}'
  finally:
    server.should_exit = server.force_exit = True
    thread.join()
