"""Fixtures: a folder in an emulated bucket, and what goes wrong there."""

import functools
import os
import socket
import uuid

import pytest

from tests.storage import bucket_server, s3_server

SERVERS = {
  'gs': (bucket_server, 'gcs', ('gcsfs', 'gcp_storage_emulator')),
  's3': (s3_server, 's3', ('s3fs', 'moto', 'flask')),
}
"""scheme -> (its server, the extra, what has to be installed)."""
both = pytest.mark.parametrize('bucket', sorted(SERVERS), indirect=True)
"""Runs the tests of a class or module, which take `bucket`, in each kind of bucket."""


@functools.cache
def _server(scheme):
  """Returns (address, Faults) of the server of this process."""
  module = SERVERS[scheme][0]
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  os.environ.update(module.environment(port))
  _, faults = module.start(port)
  return f'{scheme}://{bucket_server.BUCKET}', faults


@pytest.fixture(scope='session')
def bucket_server_here():
  """Returns `start(scheme) -> (address, Faults)`, which skips what is not installed."""

  def start(scheme):
    _, extra, packages = SERVERS[scheme]
    for package in packages:
      pytest.importorskip(
        package, reason=f"{package}: pip install -e '.[{extra},test]' brings it"
      )
    return _server(scheme)

  return start


@pytest.fixture
def bucket(request, bucket_server_here, tmp_path, monkeypatch):
  """Returns (URL of an empty folder, Faults), which end with the test.

  In gs://, unless the test is marked to be run in `both`.
  """
  root, faults = bucket_server_here(getattr(request, 'param', 'gs'))
  monkeypatch.setenv('GPT_JAX_SCRATCH', str(tmp_path / 'scratch'))
  yield f'{root}/{uuid.uuid4().hex[:8]}', faults
  faults.every, faults.refused = 0, ''
