"""HTTP/1.1 on a connection: uvicorn's, with deadlines, a cap and our error object."""

import functools
import sys
from typing import Any

from gpt_jax.core import extras
from gpt_jax.serving.call import dump
from gpt_jax.serving.errors import ApiError, overloaded

LINGER_SECONDS = 1.0
"""For which what a client still sends is taken, so that it can read its answer."""


class Lingering:
  """A transport that is closed in two steps where its client may still be sending.

  To close a socket with unread bytes resets the connection, and the client loses the
  answer that it was about to read.
  """

  def __init__(self, transport, loop, has_unread):
    self._transport, self._loop, self._has_unread = transport, loop, has_unread
    self._is_closing = False

  def __getattr__(self, name):
    return getattr(self._transport, name)

  def is_closing(self):
    return self._is_closing or self._transport.is_closing()

  def close(self):
    if self.is_closing():
      return
    self._is_closing = True
    if not self._has_unread():
      self._transport.close()
      return
    try:
      self._transport.write_eof()
      self._transport.resume_reading()
    except (OSError, RuntimeError):
      self._transport.abort()
      return
    self._loop.call_later(LINGER_SECONDS, self._transport.close)


_Mixin: Any = object  # it stands before a class that is imported late


class Guarded(_Mixin):
  """What is added to uvicorn's H11Protocol."""

  h11: Any
  phrases: Any
  read_seconds: float
  max_connections: int
  _late = None

  def connection_made(self, transport):
    transport = Lingering(transport, self.loop, self._has_unread)
    super().connection_made(transport)
    if len(self.connections) > self.max_connections:
      self._refuse(overloaded('Too many connections.', 1, 'too_many_connections'))
      return
    self._wait_for_headers()

  def connection_lost(self, exc):
    self._stop_waiting()
    super().connection_lost(exc)

  def data_received(self, data):
    if self.transport.is_closing():
      return
    is_between = self.cycle is not None and self.cycle.response_complete
    if is_between and self._late is None:
      self._wait_for_headers()
    super().data_received(data)

  def handle_events(self):
    before = self.cycle
    super().handle_events()
    if self.cycle is not before:
      self._stop_waiting()

  def on_response_complete(self):
    super().on_response_complete()
    if self.conn.trailing_data[0] and self._late is None:
      self._wait_for_headers()  # of the next request, which has begun

  def send_400_response(self, msg):
    # uvicorn calls it in the handler of the parser's error, which knows more.
    status = getattr(sys.exception(), 'error_status_hint', 400)
    if status == 501:  # of unknown codings; it would count as a failure of ours
      status = 400
    message = 'The request is no valid HTTP: line, headers, length or coding.'
    if status == 431:
      limit = self.config.h11_max_incomplete_event_size
      message = f'headers: longer than {limit:,} bytes together.'
    self._refuse(ApiError(status, message, code='bad_http'))

  def _has_unread(self):
    return self.conn.their_state not in (self.h11.IDLE, self.h11.DONE)

  def _wait_for_headers(self):
    self._late = self.loop.call_later(self.read_seconds, self._is_late)

  def _stop_waiting(self):
    if self._late is not None:
      self._late.cancel()
      self._late = None

  def _is_late(self):
    self._late = None
    is_answering = self.cycle is not None and not self.cycle.response_complete
    if not is_answering and not self.transport.is_closing():
      message = f'The headers did not come within {self.read_seconds:g} seconds.'
      self._refuse(ApiError(408, message))

  def _refuse(self, error):
    """Answers without the app, and closes."""
    self._stop_waiting()
    is_mid_answer = (
      self.cycle is not None
      and self.cycle.response_started
      and not self.cycle.response_complete
    )
    if not self.transport.is_closing() and not is_mid_answer:
      content = dump(error.body())
      headers = {
        'content-type': 'application/json', 'content-length': len(content),
        'connection': 'close', **error.headers,
      }  # fmt: skip
      reason = self.phrases.get(error.status, b'').decode()
      lines = [f'HTTP/1.1 {error.status} {reason}']
      lines += [f'{name}: {value}' for name, value in headers.items()]
      self.transport.write('\r\n'.join([*lines, '', '']).encode() + content)
    self.transport.close()


@functools.cache
def make(read_seconds, max_connections):
  """Returns a protocol class for uvicorn's `http`.

  Headers have to come within `read_seconds` of the connection, or of the first byte of
  a later request; connections above `max_connections` are answered 503.
  """
  found = extras.load(
    'uvicorn.protocols.http.h11_impl', extra='serve', package='uvicorn',
    use='gpt-jax serve',
  )  # fmt: skip
  fields = dict(
    h11=found.h11, phrases=found.STATUS_PHRASES, read_seconds=read_seconds,
    max_connections=max_connections,
  )  # fmt: skip
  return type('Protocol', (Guarded, found.H11Protocol), fields)
