"""The bucket server of `tests/storage` in a process of its own, known by variables."""

import importlib.util
import os
import socket
import sys

from tests.cluster import servers

SERVER = 'tests.storage.bucket_server'


def start(log):
  """Returns the Popen of the server; its address is in this process' environment."""
  from tests.storage import bucket_server

  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  process = servers.start([sys.executable, '-m', SERVER, f'--port={port}'], log)
  servers.until(lambda: _answers(port), 30, f'the bucket (log {log})')
  os.environ |= bucket_server.environment(port)
  return process


def why_not():
  """Returns why no bucket can be started here, or ''."""
  needed = {'gcp_storage_emulator': 'gcp-storage-emulator', 'gcsfs': 'gcsfs'}
  missing = [needed[name] for name in needed if not importlib.util.find_spec(name)]
  return f'no bucket; pip install {" ".join(missing)}' if missing else ''


def _answers(port):
  with socket.socket() as client:
    return client.connect_ex(('127.0.0.1', port)) == 0
