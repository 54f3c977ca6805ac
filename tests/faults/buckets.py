"""An emulated bucket for the lanes, which may go out of reach and come back."""

import contextlib
import functools
import os
import socket
import threading

from tests.storage.bucket_server import BUCKET
from tests.storage.buckets import SERVERS


@functools.cache
def open_bucket(scheme):
  """Returns the Bucket of this process: TensorStore reads its address once."""
  return Bucket(scheme)


class Bucket:
  """A server of `scheme` in this process, and a relay by which others reach it."""

  def __init__(self, scheme):
    server, port = SERVERS[scheme][0], _free_port()
    os.environ.update(server.environment(port))
    _, self.faults = server.start(port)
    self.root = f'{scheme}://{BUCKET}'
    self._relay = Relay(port)
    self.environment = os.environ | server.environment(self._relay.port)

  @contextlib.contextmanager
  def out_of_reach(self):
    """Nothing listens at the address of other processes while the block runs."""
    self._relay.close()
    try:
      yield
    finally:
      self._relay.open()


class Relay:
  """Passes connections to `target`, a port here; none while it is closed."""

  def __init__(self, target):
    self._target, self.port = target, _free_port()
    self._connections = set()
    self.open()

  def open(self):
    self._listening = socket.create_server(('127.0.0.1', self.port), backlog=128)
    threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

  def close(self):
    """Ends all connections, those under way too."""
    with contextlib.suppress(OSError):
      self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
    self._listening.close()
    for connection in list(self._connections):
      _end(connection)

  def _accept(self, listening):
    while True:
      try:
        client, _ = listening.accept()
      except OSError:
        return
      try:
        server = socket.create_connection(('127.0.0.1', self._target))
      except OSError:
        client.close()
        continue
      for ends in ((client, server), (server, client)):
        threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

  def _pass_on(self, source, target):
    self._connections.add(source)
    with contextlib.suppress(OSError):
      while content := source.recv(1 << 16):
        target.sendall(content)
    with contextlib.suppress(OSError):  # also after a reset: or `target` would wait
      target.shutdown(socket.SHUT_WR)
    self._connections.discard(source)
    if target not in self._connections:  # the other direction has ended before
      source.close()
      target.close()


def _end(connection):
  with contextlib.suppress(OSError):
    connection.shutdown(socket.SHUT_RDWR)


def _free_port():
  with socket.create_server(('127.0.0.1', 0)) as free:
    return free.getsockname()[1]
