"""nginx with the configuration that is shipped, before servers on other ports."""

import contextlib
import pathlib
import re
import shutil
import socket

import pytest

from tests.faults import runs

CONFIG = pathlib.Path(__file__).parents[2] / 'launch' / 'serving' / 'nginx.conf'


@contextlib.contextmanager
def balanced(ports, folder):
  """Yields the address of a balancer of servers on two ports; `folder` is its own."""
  program = shutil.which('nginx', path='/usr/sbin:/usr/local/sbin:/usr/bin:/bin')
  if program is None:
    pytest.skip('needs nginx (apt-get install nginx-light)')
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  text = CONFIG.read_text()
  for old, new in zip((8000, 8001, 8080), (*ports, port), strict=True):
    text, count = re.subn(rf'127\.0\.0\.1:{old}\b', f'127.0.0.1:{new}', text)
    assert count == 1, old
  (folder / 'nginx.conf').write_text(text)
  command = [program, '-e', 'stderr', '-p', str(folder), '-c', 'nginx.conf']
  process = runs.Command(command, folder / 'log')
  try:
    assert process.wait_until(lambda: _listens(port), 20, 0.01), process.output()
    yield f'http://127.0.0.1:{port}'
  finally:
    process.end(15, 20)


def _listens(port):
  with socket.socket() as probe:
    return probe.connect_ex(('127.0.0.1', port)) == 0
