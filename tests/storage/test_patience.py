"""A bucket that does not answer is waited for within one budget, and that is said."""

import asyncio
import contextlib
import io
import sys
import time

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import patience

PATH = 'gs://my-bucket/run/config.json'


def fail():
  raise ConnectionResetError('cut')


@pytest.fixture
def impatient(monkeypatch):
  """Makes a budget of 0.2 s, and a notice after 0.05 s."""
  monkeypatch.setattr(patience, 'PATIENCE_SECONDS', 0.2)
  monkeypatch.setattr(patience, 'NOTICE_SECONDS', 0.05)
  monkeypatch.setattr(patience, 'WAITS', (0.06,) * 20)
  monkeypatch.setattr(patience, '_SILENT', patience._Silent())
  monkeypatch.setattr(patience, '_NOTED', {})


def test_several_questions_in_a_row_share_one_budget(impatient):
  began = time.monotonic()
  for _ in range(20):
    with pytest.raises(StorageError, match='does not answer'):
      patience.patiently(fail, PATH)
  assert time.monotonic() - began < 1.0


def test_an_answer_brings_the_budget_back(impatient):
  with pytest.raises(StorageError):
    patience.patiently(fail, PATH)
  assert patience.patiently(lambda: 1, PATH) == 1
  tries = []

  def action():
    tries.append(1)
    return fail() if len(tries) < 3 else 'done'

  assert patience.patiently(action, PATH) == 'done'


def test_a_bucket_waited_for_is_named_once(impatient, capsys):
  for _ in range(3):
    with pytest.raises(StorageError):
      patience.patiently(fail, PATH)
  patience.patiently(lambda: 1, PATH)
  patience.patiently(lambda: 1, PATH)
  first, second = capsys.readouterr().err.splitlines()
  assert first.startswith('gs://my-bucket does not answer (cut); trying')
  assert second.startswith('gs://my-bucket answers again, after ')


def test_a_bucket_that_hangs_is_named_too(impatient, capsys):
  patience.patiently(lambda: time.sleep(0.2), PATH)
  assert 'gs://my-bucket does not answer; trying' in capsys.readouterr().err


def test_the_notice_is_said_where_others_are_muted(impatient, monkeypatch, capsys):
  monkeypatch.setattr('sys.__stderr__', sys.stderr)
  with contextlib.redirect_stderr(io.StringIO()):
    patience.patiently(lambda: time.sleep(0.2), PATH)
  assert 'gs://my-bucket does not answer' in capsys.readouterr().err


def test_requests_to_gcs_are_tried_for_a_moment(monkeypatch):
  gcs_requests = pytest.importorskip(
    'gpt_jax.storage.gcs_requests', reason="gcsfs: pip install -e '.[gcs]' brings it"
  )
  tries = []

  async def make(self, method, path, *args, **options):
    tries.append(method)
    fail()

  monkeypatch.setattr(gcs_requests, 'WAITS', (0.01, 0.01))
  original = gcs_requests.GCSFileSystem._request
  monkeypatch.setattr(original, '__wrapped__', make)
  with pytest.raises(ConnectionResetError):
    asyncio.run(gcs_requests.GcsRequests._try(None, 'GET', 'b/x'))
  assert len(tries) == 1 + len(gcs_requests.WAITS)


def test_a_listing_of_no_bucket_names_the_bucket(monkeypatch):
  gcs_requests = pytest.importorskip(
    'gpt_jax.storage.gcs_requests', reason="gcsfs: pip install -e '.[gcs]' brings it"
  )
  system = gcs_requests.GcsRequests.__new__(gcs_requests.GcsRequests)

  async def absent(method, path, *args, **options):
    raise FileNotFoundError(path)

  monkeypatch.setattr(system, '_try', absent, raising=False)

  def ask(path):
    return patience.patiently(lambda: asyncio.run(system._request('GET', path)), PATH)

  with pytest.raises(StorageError, match="no bucket 'my-bucket'"):
    ask('b/{}/o')
  with pytest.raises(FileNotFoundError):
    ask('b/{}/o/{}')
