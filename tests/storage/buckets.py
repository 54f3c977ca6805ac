"""Fixtures: a folder in an emulated bucket, and what goes wrong there."""

import os
import socket
import uuid

import pytest

from tests.storage import bucket_server

NEEDS = ('gcsfs', 'gcp_storage_emulator')


@pytest.fixture(scope='session')
def bucket_server_here():
  """Returns (address, Faults) of the server of this session, or skips."""
  for package in NEEDS:
    pytest.importorskip(
      package, reason=f"{package}: pip install -e '.[gcs,test]' brings it"
    )
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  os.environ.update(bucket_server.environment(port))
  server, faults = bucket_server.start(port)
  yield f'gs://{bucket_server.BUCKET}', faults
  server.stop()


@pytest.fixture
def bucket(bucket_server_here, tmp_path, monkeypatch):
  """Returns (URL of an empty folder, Faults), which end with the test."""
  root, faults = bucket_server_here
  monkeypatch.setenv('GPT_JAX_SCRATCH', str(tmp_path / 'scratch'))
  yield f'{root}/{uuid.uuid4().hex[:8]}', faults
  faults.every, faults.refused = 0, ''
