"""How long a bucket that does not answer is asked again, and when that is said.

One budget for all that a thread asks in a row, so that waits do not add up: a command
gives up after PATIENCE_SECONDS and a last try. The libraries' own patience is turned
down to a moment (`storage/gcs_requests.py`, `storage/systems.py`).
"""

import contextlib
import io
import random
import sys
import threading
import time

from gpt_jax.core.errors import StorageError
from gpt_jax.storage.failures import code_of, explain, first_line, is_passing
from gpt_jax.storage.urls import bucket_and_key, scheme_of

PATIENCE_SECONDS = 45.0
"""After which no further try begins; a last one may take 10 s, or 60 s to be read."""
WAITS = (0.5, 1.0, 2.0, *[4.0] * 12)
"""Seconds before each further try."""
FORGET_SECONDS = 30.0
"""After which a failure no longer counts against the budget of the next question."""
NOTICE_SECONDS = 8.0


def patiently(action, path, sleep=time.sleep):
  """Returns `action()`, tried again while its failure is passing; see `explain`.

  It has to be the same if it is done twice. FileNotFoundError passes unchanged, unless
  the store says that it is the bucket which is not there.
  """
  bucket = f'{scheme_of(path)}://{bucket_and_key(path)[0]}'
  began = _SILENT.since(bucket)
  with _notice_after(bucket) as tried:
    for wait in (*WAITS, None):
      try:
        result = action()
      except (FileNotFoundError, FileExistsError, StorageError) as error:
        _SILENT.buckets.pop(bucket, None)
        if code_of(error) == 'NoSuchBucket':
          raise explain(error, path) from error
        raise
      except Exception as error:
        if not is_passing(error):
          raise explain(error, path) from error
        now = time.monotonic()
        _SILENT.buckets[bucket] = began, now
        if wait is None or now - began > PATIENCE_SECONDS:
          raise explain(error, path) from error
        tried.append(error)
      else:
        _SILENT.buckets.pop(bucket, None)
        _say_if_back(bucket)
        return result
      sleep(wait * (0.5 + random.random()))


class _Silent(threading.local):
  """Which buckets do not answer this thread: name -> (first failure, last failure)."""

  def __init__(self):
    self.buckets = {}

  def since(self, bucket):
    """Returns since when `bucket` has not answered: now, unless it just failed."""
    now = time.monotonic()
    first, last = self.buckets.get(bucket, (now, now))
    return first if now - last < FORGET_SECONDS else now


_SILENT = _Silent()
_NOTED: dict[str, float] = {}
"""Bucket -> when it was said that it does not answer; of all threads."""


@contextlib.contextmanager
def _notice_after(bucket):
  """Says that the block waits for `bucket`, once it does; gives a list of failures."""
  failures, began = [], time.monotonic()

  def say():
    if bucket not in _NOTED:
      _NOTED[bucket] = began
      why = f' ({first_line(failures[-1])})' if failures else ''
      _print(f'{bucket} does not answer{why}; trying for up to a minute ...')

  timer = threading.Timer(NOTICE_SECONDS, say)
  timer.daemon = True
  timer.start()
  try:
    yield failures
  finally:
    timer.cancel()


def _say_if_back(bucket):
  since = _NOTED.pop(bucket, None)
  if since is not None:
    _print(f'{bucket} answers again, after {time.monotonic() - since:.0f} s.')


def _print(text):
  # Where what others say is thrown away, somebody waits all the same.
  is_muted = isinstance(sys.stderr, io.StringIO)
  with contextlib.suppress(OSError):
    print(text, file=sys.__stderr__ if is_muted else sys.stderr, flush=True)
