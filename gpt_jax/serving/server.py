"""The process of a server: sockets, signals, drain, reload, and its exit code."""

import asyncio
import contextlib
import functools
import ipaddress
import logging
import signal
import socket
import sys
import threading

from gpt_jax.core import extras
from gpt_jax.core.errors import ConfigError
from gpt_jax.safety.redaction import LogFilter
from gpt_jax.serving import protocol
from gpt_jax.serving.app import make_app

FAILED = 1
"""Exit code of a server whose engine has died."""
LAST_REQUESTS_SECONDS = 0.2
"""For which open connections may still bring a request once the server stops."""
KEEP_ALIVE_SECONDS = 30
_WITHOUT_PERSONAL_DATA = LogFilter()


def bind(host, port):
  """Returns a bound socket. Raises ConfigError for an address that cannot be had."""
  try:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    found = socket.socket(family, socket.SOCK_STREAM)
  except OSError as error:
    raise ConfigError(
      f'--host={host}: no address of this machine ({error}).'
    ) from error
  try:
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((host, port))
  except OSError as error:
    found.close()
    if error.errno == 98:
      raise ConfigError(
        f'--port={port}: in use on {host} by another process; end it, or give another'
        ' port.'
      ) from error
    raise ConfigError(f'--host={host} --port={port}: {error.strerror}.') from error
  return found


def is_loopback(host):
  """Returns whether only this machine can reach a host."""
  if host == 'localhost':
    return True
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False


def require_keys(settings, hooks):
  """Raises ConfigError for an address that others reach while nobody needs a key."""
  if is_loopback(settings.host):
    return
  if hooks.keys is None or not hooks.keys.has_keys():
    raise ConfigError(
      f'--host={settings.host}: others can reach it, and there are no keys; make one'
      ' with `gpt-jax keys create` and give --keys, or leave out --host: 127.0.0.1.'
    )


def make(models, settings, hooks=None):
  """Returns the uvicorn server of Models; its `failure` is what ended the engine."""
  uvicorn = extras.load(
    'uvicorn', extra='serve', package='uvicorn', use='gpt-jax serve'
  )
  logging.getLogger('uvicorn.error').addFilter(_WITHOUT_PERSONAL_DATA)
  app, shared = make_app(models, settings, hooks)
  config = uvicorn.Config(
    app,
    http=protocol.make(settings.read_seconds, settings.max_connections),
    ws='none', lifespan='off', interface='asgi3',
    h11_max_incomplete_event_size=settings.max_header_bytes,
    timeout_keep_alive=KEEP_ALIVE_SECONDS,
    timeout_graceful_shutdown=settings.drain_seconds,
    access_log=False, log_config=None, log_level='error',
    server_header=False, proxy_headers=False,
  )  # fmt: skip
  return _server_class()(config, shared)


def run(server, sock, on_start=lambda: None):
  """Serves on a bound socket until a signal; returns the exit code."""
  server.on_start = on_start
  try:
    server.run(sockets=[sock])
  finally:
    server.shared.models.close()
    for close in server.shared.hooks.on_close:
      close()
  if server.failure is None:
    return 0
  print(
    f'gpt-jax serve: the engine has stopped: {server.failure}; start the server again.',
    file=sys.stderr,
  )
  return FAILED


@functools.cache
def _server_class():
  uvicorn = extras.load(
    'uvicorn', extra='serve', package='uvicorn', use='gpt-jax serve'
  )

  class HttpServer(uvicorn.Server):
    """uvicorn's, whose signals drain and reload."""

    def __init__(self, config, shared):
      super().__init__(config)
      self.shared, self.failure = shared, None
      self.on_start = lambda: None
      self._tasks = set()
      shared.models.on_death = self._die

    def stop(self):
      """Takes no more requests; ends when those in progress have ended."""
      if self.should_exit:
        self.force_exit = True  # told twice
      self.should_exit = True

    def reload(self):
      """Serves the newest steps; an error is printed, and nothing changes."""
      task = asyncio.ensure_future(self._reload())
      self._tasks.add(task)
      task.add_done_callback(self._tasks.discard)

    async def startup(self, sockets=None):
      await super().startup(sockets)
      self.on_start()

    async def shutdown(self, sockets=None):
      self.shared.drain()
      for server in self.servers:
        server.close()
      # A request may be on its way on a connection that looks idle.
      await asyncio.sleep(0 if self.failure else LAST_REQUESTS_SECONDS)
      await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self):
      if threading.current_thread() is not threading.main_thread():
        yield
        return
      loop = asyncio.get_running_loop()
      handlers = {
        signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self.reload
      }  # fmt: skip
      for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
      try:
        yield
      finally:
        for number in handlers:
          loop.remove_signal_handler(number)

    def _die(self, error):
      self.failure = error
      self.should_exit = True

    async def _reload(self):
      try:
        steps = await self.shared.reload()
      except Exception as error:
        print(f'gpt-jax serve: not reloaded: {error}', file=sys.stderr)
        return
      for name, (old, new) in steps.items():
        print(f'gpt-jax serve: {name}: step {old} -> {new}', file=sys.stderr)

  return HttpServer
