"""A real `gpt-jax serve` as a process, and clients that are patient or rude to it."""

import asyncio
import atexit
import contextlib
import dataclasses
import functools
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
import time

from gpt_jax.keys.store import KeyStore
from gpt_jax.train import loop
from tests import tiny_runs
from tests.faults import runs

CONTEXT, SLOTS, QUEUE = 512, 4, 16
MODEL = 'tiny'
FIELDS = {
  'inference.slots': SLOTS, 'inference.slot_tokens': CONTEXT,
  'inference.queue_limit': QUEUE,
}  # fmt: skip
WORK = '/v1/completions'


@functools.cache
def trained():
  """Returns the workdir of `train`, for all lanes of a process."""
  folder = tempfile.mkdtemp(prefix='gpt_jax_server_')
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  return train(pathlib.Path(folder))


def train(folder):
  """Returns the workdir of a model of one layer that has learned some words."""
  fields = tiny_runs.TEXT | tiny_runs.ONE_LAYER | {
    'data.path': str(runs.write_text(folder)), 'model.max_seq_len': CONTEXT,
    'data.seq_len': 64, 'train.steps': 40, 'checkpoint.every_steps': 40,
    'eval.sets': {}, 'eval.every_steps': 0,
  }  # fmt: skip
  loop.train(tiny_runs.tiny_config(fields), folder / MODEL, quiet=True)
  return folder / MODEL


@dataclasses.dataclass(frozen=True)
class Answer:
  """What came back; a status of None: the connection ended without one."""

  status: int | None
  headers: dict
  content: bytes

  @property
  def json(self):
    return json.loads(self.content)


class Server:
  """A running server; a context manager that ends it.

  Attributes: `secrets`, those of keys named a, b and root, if it has keys.
  """

  def __init__(self, folder, workdir, *flags, with_keys=False, **fields):
    self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
    self._probe = str(self.folder / 'probe')
    self.secrets = {}
    command = [sys.executable, '-m', 'tests.faults.instrumented', self._probe, 'serve']
    command += [f'--workdir={MODEL}={workdir}', '--port=0', *flags]
    command += [f'--config.{name}={value}' for name, value in (FIELDS | fields).items()]
    if with_keys:
      command.append(f'--keys={self._make_keys()}')
    # As users have it: one device, and no keys of the machine.
    environment = {n: v for n, v in os.environ.items() if n != 'XLA_FLAGS'}
    environment.pop('GPT_JAX_KEYS', None)
    environment['XDG_CONFIG_HOME'] = str(self.folder)
    self.process = runs.Command(command, self.folder / 'log', environment)
    if not self.process.wait_until(self._find_port, every=0.05):
      raise AssertionError(f'no server: {self.log()[-2000:]}')

  def _make_keys(self):
    path = self.folder / 'keys.sqlite'
    with KeyStore(path, create=True) as store:
      for name in ('a', 'b'):
        self.secrets[name] = store.create(name)[1]
      self.secrets['root'] = store.create('root', ['admin', 'metrics', 'models'])[1]
      self.secrets['slow'] = store.create('slow', requests_per_minute=2)[1]
    return path

  def key(self, name):
    """Returns the Key of that name, as the store has it now."""
    with KeyStore(self.folder / 'keys.sqlite') as store:
      return next(key for key in store.list() if key.name == name)

  def _find_port(self):
    found = re.search(r'at http://127\.0\.0\.1:(\d+)', self.log())
    self.port = int(found[1]) if found else 0
    return bool(found)

  def log(self):
    return self.process.output()

  def probe(self, command='state'):
    """Returns what `instrumented.py` answers to a command."""
    with socket.socket(socket.AF_UNIX) as connection:
      connection.connect(self._probe)
      connection.sendall(f'{command}\n'.encode())
      with connection.makefile() as lines:
        return json.loads(lines.readline())

  def resident_bytes(self):
    status = pathlib.Path(f'/proc/{self.process.pid}/status').read_text()
    return int(re.search(r'VmRSS:\s+(\d+) kB', status)[1]) * 1024

  def ask(self, method, path, body=None, key=None, headers=None, seconds=60):
    """Returns the Answer to a request that is in order."""
    headers = dict(headers or {})
    if key is not None:
      headers['authorization'] = f'Bearer {self.secrets.get(key, key)}'
    if body is not None:
      headers.setdefault('content-type', 'application/json')
      body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=seconds)
    with contextlib.closing(connection):
      connection.request(method, path, body, headers)
      found = connection.getresponse()
      return Answer(found.status, dict(found.getheaders()), found.read())

  def complete(self, prompt, key=None, **options):
    """Returns the Answer to a prompt; greedy unless `options` say otherwise."""
    body = dict(model=MODEL, prompt=prompt, temperature=0) | options
    return self.ask('POST', WORK, body, key)

  def wait_until_idle(self, seconds=20):
    """Returns whether slots and queue became empty in that time."""
    return self.process.wait_until(
      lambda: not (self.probe()['running'] or self.probe()['waiting']), seconds, 0.02
    )

  def end(self, number=None, seconds=60):
    """Returns the exit code, after a signal if one is given."""
    return self.process.end(number, seconds)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    if self.process.is_running():
      self.process.end(15, 60)


def send_raw(port, content, ends=False, seconds=30, pause=0.0):
  """Returns the Answer to raw bytes, or to pieces of them sent one after another.

  `ends`: closes the sending side, as after a message that was cut off. Raises
  TimeoutError where the server neither answers nor closes.
  """
  pieces = [content] if isinstance(content, bytes) else content
  with socket.create_connection(('127.0.0.1', port), timeout=seconds) as connection:
    # A server may answer and close before it has read all.
    with contextlib.suppress(ConnectionError):
      for piece in pieces:
        connection.sendall(piece)
        time.sleep(pause)
      if ends:
        connection.shutdown(socket.SHUT_WR)
    return read_answer(connection)


def read_answer(connection):
  """Returns the next Answer on a blocking socket; TimeoutError after its timeout."""
  content = b''
  while True:
    head, found, rest = content.partition(b'\r\n\r\n')
    if found:
      lines = head.decode('latin-1').split('\r\n')
      pairs = (line.partition(':') for line in lines[1:])
      headers = {name.lower(): value.strip() for name, _, value in pairs}
      length = headers.get('content-length')
      if length is not None and len(rest) >= int(length):
        return Answer(int(lines[0].split()[1]), headers, rest[: int(length)])
    try:
      piece = connection.recv(1 << 16)
    except ConnectionError:
      piece = b''
    if not piece:
      if not found:
        return Answer(None, {}, content)
      return Answer(int(lines[0].split()[1]), headers, rest)
    content += piece


def request_bytes(body, path=WORK, headers=(), method='POST'):
  """Returns a request with a JSON body, ready to be sent."""
  content = body if isinstance(body, bytes) else json.dumps(body).encode()
  lines = [
    f'{method} {path} HTTP/1.1', 'host: localhost', 'content-type: application/json',
    f'content-length: {len(content)}', *headers,
  ]  # fmt: skip
  return '\r\n'.join([*lines, '', '']).encode('latin-1') + content


async def ask_async(port, body, path=WORK, headers=(), seconds=120):
  """Returns the Answer to a request that is in order, of one connection."""
  async with asyncio.timeout(seconds):
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    try:
      writer.write(request_bytes(body, path, (*headers, 'connection: close')))
      content = await reader.read()
    finally:
      writer.close()
  head, _, content = content.partition(b'\r\n\r\n')
  lines = head.decode('latin-1').split('\r\n')
  if not head:
    return Answer(None, {}, b'')
  pairs = (line.partition(':') for line in lines[1:])
  headers = {name.lower(): value.strip() for name, _, value in pairs}
  return Answer(int(lines[0].split()[1]), headers, content)
