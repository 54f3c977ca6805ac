"""The Starlette app of a server: which path is answered by what.

A route is an async function of a Call that returns what to answer: a JSON value, or a
Stream of events.
"""

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from gpt_jax.core import extras
from gpt_jax.serving import (
  body,
  chat,
  classify,
  completions,
  embeddings,
  errors,
  fields,
  openapi,
  schema,
)
from gpt_jax.serving.body import Disconnected
from gpt_jax.serving.call import Stream
from gpt_jax.serving.errors import ApiError
from gpt_jax.serving.hooks import Hooks
from gpt_jax.serving.model import CHAT, CLASSES, TEXT, VECTORS
from gpt_jax.serving.pipeline import Pipeline, require_scope
from gpt_jax.serving.settings import Settings


@dataclasses.dataclass(frozen=True)
class Route:
  """A path of the API."""

  path: str
  answer: Callable[..., Awaitable[Any]]
  """`async (Call) -> JSON value, Stream, or (bytes, content type, more headers)`."""
  method: str = 'POST'
  takes: dict | None = None
  """Schema of the body; None: it has none."""
  scope: str | None = None
  """That a key has to have, one of hooks.SCOPES; None: any key."""
  is_open: bool = False
  """Whether it is answered without a key."""
  summary: str = ''


async def _models(call):
  await call.admit(None)
  data = []
  for served in call.models.served():
    if call.may_use(served.name):
      data.append({'id': served.name} | served.model.card())
      if served.adapter is not None:
        data[-1]['parent'] = served.model.source.name
  return {'object': 'list', 'data': data}


async def _tokenize(call):
  model = call.use(TEXT).model
  await call.admit(None)
  read = await model.texts.read(call.body['prompt'], {'max_new_tokens': 0})
  ids = [int(i) for i in read[2].prompt_ids]
  return {'count': len(ids), 'tokens': ids, 'context': model.texts.context}


ROUTES = (
  Route('/v1/models', _models, 'GET', scope='models', summary='Models and adapters'),
  Route('/v1/completions', completions.answer, takes=fields.COMPLETIONS, scope=TEXT,
        summary='Text that follows a prompt'),
  Route('/v1/chat/completions', chat.answer, takes=fields.CHAT, scope=CHAT,
        summary='The next message of a conversation'),
  Route('/v1/embeddings', embeddings.answer, takes=fields.EMBEDDINGS, scope=VECTORS,
        summary='Vectors of texts'),
  Route('/v1/classify', classify.answer, takes=fields.CLASSIFY, scope=CLASSES,
        summary='What a task head says of texts'),
  Route('/tokenize', _tokenize, takes=fields.TOKENIZE, scope=TEXT,
        summary='Token ids of a prompt'),
)  # fmt: skip


_METRICS = functools.partial(
  Route, '/metrics', method='GET', scope='metrics', summary='For Prometheus'
)


class Server:
  """What the routes of one process share."""

  def __init__(self, models, settings, hooks):
    self.models, self.settings, self.hooks = models, settings, hooks
    self.is_draining = False

  def routes(self):
    """Returns all Routes."""
    return (
      *ROUTES,
      Route('/healthz', self._health, 'GET', is_open=True, summary='Does it work?'),
      Route('/readyz', self._ready, 'GET', is_open=True, summary='Can it be asked?'),
      Route('/openapi.json', self._openapi, 'GET', summary='This page'),
      Route('/admin/reload', self._reload, scope='admin',
            summary='Serves the newest step of each model'),
      *([_METRICS(answer=self._metrics)] if self.hooks.metrics is not None else []),
      *self.hooks.routes,
    )  # fmt: skip

  def drain(self):
    """From now on the server is not ready."""
    self.is_draining = True
    if self.hooks.metrics is not None:
      self.hooks.metrics.drains()

  async def reload(self):
    """Serves the newest steps; returns what `Models.reload` does."""
    try:
      steps = await self.models.reload()
    except Exception as error:
      self._tell_reload('all', type(error).__name__)
      raise
    for name in steps:
      self._tell_reload(name, 'ok')
    return steps

  def _tell_reload(self, name, outcome):
    if self.hooks.metrics is not None:
      self.hooks.metrics.reloaded(name, outcome)

  async def _health(self, call):
    del call
    if self.models.error is not None:
      raise ApiError(503, 'The engine has stopped.', kind='server_error', code='dead')
    return {'status': 'ok'}

  async def _ready(self, call):
    await self._health(call)
    if self.is_draining:
      raise errors.overloaded('The server is stopping.', 1, 'stopping')
    return {'status': 'ready'}

  async def _openapi(self, call):
    names = [served.name for served in call.models.served()]
    has_keys = self.hooks.keys is not None
    return openapi.document(self.routes(), names, has_keys, self.settings.version)

  async def _reload(self, call):
    del call
    steps = await self.reload()
    return {
      'reloaded': [
        {'model': name, 'old_step': old, 'new_step': new}
        for name, (old, new) in steps.items()
      ]
    }

  async def _metrics(self, call):
    del call
    metrics = self.hooks.metrics
    assert metrics is not None
    content = await asyncio.to_thread(metrics.render)
    return content, 'text/plain; version=0.0.4; charset=utf-8', ()


def make_app(models, settings=None, hooks=None):
  """Returns (ASGI app, its Server) of Models, Settings and Hooks."""
  routing = extras.load(
    'starlette.routing', extra='serve', package='starlette', use='gpt-jax serve'
  )
  settings, hooks = settings or Settings(), hooks or Hooks()
  server = Server(models, settings, hooks)
  routes = server.routes()
  # No Starlette middleware: `pipeline.py` has all that is done around routes.
  app = routing.Router(
    routes=[routing.Route(route.path, Endpoint(route)) for route in routes],
    default=_not_found,
    redirect_slashes=False,
  )
  open_paths = [route.path for route in routes if route.is_open]
  return Pipeline(app, settings, hooks, models, open_paths), server


async def _not_found(scope, receive, send):
  message = f'{scope["path"][:80]}: no such path; /openapi.json lists those that are.'
  raise ApiError(404, message, code='not_found')


class Endpoint:
  """The ASGI app of one Route."""

  def __init__(self, route):
    self._route = route

  async def __call__(self, scope, receive, send):
    route, call, reply = self._route, scope['call'], scope['reply']
    call.record.route = route.path
    methods = (route.method, 'HEAD') if route.method == 'GET' else (route.method,)
    if scope['method'] not in methods:
      raise ApiError(
        405, f'{route.path}: expected {route.method}.', code='method_not_allowed',
        headers={'allow': ', '.join(methods), 'connection': 'close'},
      )  # fmt: skip
    require_scope(call, route.scope)
    if route.takes is not None:
      limits = call.settings
      content = await body.read(
        receive, scope['headers'], limits.max_body_bytes, limits.read_seconds
      )
      call.record.request_bytes = len(content)
      call.body = schema.check(body.parse(content), route.takes)
    await self._within_limits(call, reply, receive)

  async def _within_limits(self, call, reply, receive):
    """Answers, unless the client goes, or time is up."""
    work = asyncio.create_task(self._answer(call, reply))
    gone = asyncio.create_task(_disconnected(receive))
    try:
      await asyncio.wait(
        {work, gone}, timeout=call.settings.request_seconds,
        return_when=asyncio.FIRST_COMPLETED,
      )  # fmt: skip
      if work.done():
        work.result()
      elif gone.done():
        raise Disconnected
      else:
        raise errors.overloaded(
          f'The request took longer than {call.settings.request_seconds:g} seconds.',
          call.settings.retry_after,
          'deadline_exceeded',
        )
    finally:
      for task in (work, gone):
        task.cancel()
      await asyncio.gather(work, gone, return_exceptions=True)

  async def _answer(self, call, reply):
    found = await self._route.answer(call)
    if isinstance(found, Stream):
      call.record.is_streamed = True
      await reply.stream(found.events)
    elif isinstance(found, tuple):
      content, kind, headers = found
      await reply.whole(200, content, kind.encode(), headers)
    else:
      await reply.json(200, found)


async def _disconnected(receive):
  """Returns once the client has gone."""
  while (await receive())['type'] != 'http.disconnect':
    pass
