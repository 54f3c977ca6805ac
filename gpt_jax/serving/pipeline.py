"""What every request goes through: host, key, limits, deadline, errors, and the end.

ASGI around the routes of `app.py`. At the end of each request, whatever became of it,
the hooks are told.
"""

import asyncio
import contextlib
import time

from gpt_jax.safety import redaction
from gpt_jax.serving import errors
from gpt_jax.serving.body import Disconnected
from gpt_jax.serving.call import Call, dump, forbidden, new_record
from gpt_jax.serving.errors import ApiError
from gpt_jax.serving.request_log import PROBES
from gpt_jax.serving.request_record import CANCELLED, OK

OPEN = {'/healthz', '/readyz'}
"""Paths that are answered without a key: they tell nothing but whether it works."""
LOOPBACK = 'localhost', '127.0.0.1', '[::1]', '::1'
CLOSED_REQUEST = 499
"""Status in the log of a request whose client has gone; nobody receives it."""


class Reply:
  """The sending side of a request."""

  def __init__(self, send, record, settings):
    self._send, self._record, self._settings = send, record, settings
    self.is_started = self.is_stream = False

  async def json(self, status, value, headers=()):
    """Answers in one piece."""
    await self.whole(status, dump(value), b'application/json', headers)

  async def whole(self, status, content, content_type, headers=()):
    await self._start(status, content_type, headers, len(content))
    await self._put(content, more=False)

  async def stream(self, events):
    """Answers with server-sent events."""
    async with contextlib.aclosing(events):
      async for event in events:
        if not self.is_started:  # what fails before the first one has its own status
          self.is_stream = True
          await self._start(200, b'text/event-stream; charset=utf-8', (), None)
        await self._put(b'data: ' + dump(event) + b'\n\n', more=True)
    await self._put(b'data: [DONE]\n\n', more=False)

  async def fail(self, error):
    """Tells an ApiError, in whatever way is left."""
    if not self.is_started:
      await self.json(error.status, error.body(), error.headers.items())
    elif self.is_stream:
      await self._put(b'data: ' + dump(error.body()) + b'\n\n', more=False)

  async def _start(self, status, content_type, headers, length):
    self.is_started, self._record.status = True, status
    found = [
      (b'content-type', content_type),
      (b'x-request-id', self._record.id.encode()),
      (b'cache-control', b'no-store'),
      (b'x-content-type-options', b'nosniff'),
      *((name.encode(), str(value).encode()) for name, value in headers),
    ]
    if length is not None:
      found.append((b'content-length', str(length).encode()))
    await self._send(
      {'type': 'http.response.start', 'status': status, 'headers': found}
    )

  async def _put(self, content, more):
    message = {'type': 'http.response.body', 'body': content, 'more_body': more}
    try:
      async with asyncio.timeout(self._settings.write_seconds):
        await self._send(message)
    except TimeoutError:
      raise Disconnected from None


class Pipeline:
  """The ASGI app around `routes`, which read `scope['call']` and `scope['reply']`."""

  def __init__(self, routes, settings, hooks, models, open_paths=()):
    self._routes, self._settings = routes, settings
    self._hooks, self._models = hooks, models
    self._open = OPEN | set(open_paths)
    self.is_draining = False

  async def __call__(self, scope, receive, send):
    if scope['type'] != 'http':
      await self._routes(scope, receive, send)
      return
    record = new_record(scope['method'])
    call = Call(record, self._settings, self._hooks, self._models)
    reply = Reply(send, record, self._settings)
    scope['call'], scope['reply'] = call, reply
    self._begin(record, scope)
    try:
      await self._answer(scope, receive, send, call)
    except asyncio.CancelledError:
      # The server ends, and has waited as long as it was told to.
      record.outcome, record.status = 'stopping', record.status or 503
      error = errors.overloaded('The server is stopping.', 1, 'stopping')
      with contextlib.suppress(Exception):
        await reply.fail(error)
    except Disconnected:
      record.outcome, record.status = CANCELLED, record.status or CLOSED_REQUEST
    except Exception as error:
      await self._fail(reply, record, error)
    finally:
      call.stack.close()
      record.ended = time.monotonic()
      self._end(call)

  async def _answer(self, scope, receive, send, call):
    headers = scope['headers']
    # The parser's limit is for what comes in several parts.
    if sum(len(n) + len(v) + 4 for n, v in headers) > self._settings.max_header_bytes:
      limit = f'{self._settings.max_header_bytes:,}'
      raise ApiError(
        431, f'headers: longer than {limit} bytes together.',
        headers={'connection': 'close'},
      )  # fmt: skip
    if scope['http_version'] not in ('1.0', '1.1'):  # the parser takes any
      raise ApiError(
        400, f'HTTP/{scope["http_version"]}: expected HTTP/1.1.', code='bad_http',
        headers={'connection': 'close'},
      )  # fmt: skip
    require_host(headers, self._settings)
    if self._hooks.keys is not None and scope['path'] not in self._open:
      await self._require_key(headers, call)
    await self._routes(scope, receive, send)

  async def _require_key(self, headers, call):
    call.key = await asyncio.to_thread(
      self._hooks.keys.authenticate, secret_of(headers) or b''
    )
    if call.key is None:
      raise _no_key('The key is not known, was revoked, or has expired.')
    call.record.key_id = str(call.key.id)

  async def _fail(self, reply, record, error):
    found = errors.of(error, record.id, self._settings.retry_after)
    record.outcome = found.outcome
    record.limit = getattr(error, 'what', None)
    if found.code in ('internal_error', 'unavailable'):
      redaction.print_error(error, f'gpt-jax serve: {record.id}: ')
    record.status = record.status or found.status
    with contextlib.suppress(Disconnected, OSError):
      await reply.fail(found)

  def _begin(self, record, scope):
    hooks = self._hooks
    if hooks.metrics is not None:
      hooks.metrics.started()
    if hooks.tracing is not None:
      pairs = ((n.decode('latin-1'), v.decode('latin-1')) for n, v in scope['headers'])
      hooks.tracing.started(record, dict(pairs))

  def _end(self, call):
    """Tells the hooks; those that may block, in a thread that nobody waits for."""
    hooks, record = self._hooks, call.record
    for hook in (hooks.metrics, hooks.tracing):
      if hook is not None:
        _safely(hook.finished, record)
    slow = []
    tokens = record.prompt_tokens + record.new_tokens
    if hooks.keys is not None and call.admission is not None:
      slow.append((hooks.keys.charge, call.key, tokens, call.admission))
    if hooks.request_log is not None:
      slow.append((hooks.request_log.write, record, call.prompt_text, call.answer_text))
    is_probe = record.route in PROBES and record.outcome == OK
    if hooks.audit is not None and not is_probe:
      slow.append((hooks.audit.record, audit_entry(record)))
    if slow:
      asyncio.get_running_loop().run_in_executor(None, _run_all, slow)


def audit_entry(record):
  """Returns what the audit log keeps of a request: no text."""
  return {
    'id': record.id, 'time': record.started_at, 'route': record.route,
    'key': record.key_id, 'model': record.model, 'status': record.status,
    'outcome': record.outcome, 'prompt_tokens': record.prompt_tokens,
    'new_tokens': record.new_tokens, 'redactions': dict(record.redactions),
    'filter_hits': {f'{s}/{r}': n for (s, r), n in record.filter_hits.items()},
  }  # fmt: skip


def _run_all(calls):
  for function, *args in calls:
    _safely(function, *args)


def _safely(function, *args):
  # No hook may turn an answer that is out into an error.
  try:
    function(*args)
  except Exception as error:
    if not hasattr(error, 'retry_after'):  # a budget that this request has used up
      redaction.print_error(error)


def require_host(headers, settings):
  """Raises ApiError 400 for a Host header of another machine.

  A page elsewhere can have its own name point to loopback (DNS rebinding); its requests
  carry that name.
  """
  is_local = settings.host in LOOPBACK
  if not is_local and not settings.allowed_hosts:
    return
  hosts = [value for name, value in headers if name == b'host']
  name = hosts[0].decode('latin-1').strip() if len(hosts) == 1 else ''
  host, colon, port = name.rpartition(':')
  if not colon or not port.isdigit():
    host = name
  if host.lower() not in (*LOOPBACK, *settings.allowed_hosts):
    raise ApiError(
      400,
      f'host: {name[:80]!r} is not this server; expected one header, one of localhost,'
      ' 127.0.0.1 and those of --allowed_host.',
      param='host',
      headers={'connection': 'close'},
    )


def secret_of(headers):
  """Returns what follows Bearer, bytes. Raises ApiError 401 for anything else."""
  found = [value for name, value in headers if name == b'authorization']
  if len(found) != 1:
    what = 'several Authorization headers' if found else 'no key'
    raise _no_key(f'The request has {what}; send Authorization: Bearer KEY.')
  scheme, _, secret = found[0].strip().partition(b' ')
  secret = secret.strip()
  if scheme.lower() != b'bearer' or not secret or len(secret) > 1024:
    raise _no_key('The Authorization header is not Bearer KEY.')
  return secret


def _no_key(message):
  return ApiError(
    401, message, code='invalid_api_key',
    headers={'www-authenticate': 'Bearer', 'connection': 'close'},
  )  # fmt: skip


def require_scope(call, scope):
  """Raises ApiError 403 for a key that may not use a route."""
  if call.key is not None and scope is not None and scope not in call.key.scopes:
    raise forbidden(f'The key has no scope {scope!r}.')
