"""What buckets answer, as StorageErrors: which path, what is wrong, the way out.

Requests that fail in passing (429, 5xx, cut connections) are made again, by the
libraries and once more here; all others end at once.
"""

import contextlib
import errno
import random
import time

from gpt_jax.core.errors import StorageError
from gpt_jax.storage.urls import bucket_and_key, scheme_of

PASSING = {408, 429, 500, 502, 503, 504, '408', '429', '500', '502', '503', '504'}
WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try, beyond those of the libraries."""
PATIENCE_SECONDS = 45.0
"""After which no further try begins; one of the libraries may take 30 s itself."""

CREDENTIALS = {
  'gs': (
    'run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS'
    ' to the file of a service account'
  ),
  's3': 'run `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
}


def is_passing(error):
  """Returns whether the same request may succeed a moment later."""
  if isinstance(error, FileNotFoundError | FileExistsError | PermissionError):
    return False
  code = _code(error)
  if code is not None:
    return code in PASSING
  names = {kind.__name__ for kind in type(error).__mro__}
  passing = {
    'ClientError', 'TimeoutError', 'ConnectionError', 'ProxyError', 'ChecksumError',
    'IncompleteReadError', 'HTTPClientError', 'FSTimeoutError', 'TransportError',
  }  # fmt: skip
  return bool(names & passing) and 'DefaultCredentialsError' not in names


def patiently(action, path, sleep=time.sleep):
  """Returns `action()`, tried again while its failure is passing; see `explained`.

  It has to be the same if it is done twice. FileNotFoundError passes unchanged.
  """
  began = time.monotonic()
  for wait in (*WAITS, None):
    try:
      return action()
    except Exception as error:
      if isinstance(error, FileNotFoundError | FileExistsError | StorageError):
        raise
      is_late = time.monotonic() - began > PATIENCE_SECONDS
      if wait is None or is_late or not is_passing(error):
        raise explain(error, path) from error
    sleep(wait * (0.5 + random.random()))


@contextlib.contextmanager
def explained(path):
  """Turns what a bucket's library raises inside into a StorageError naming `path`."""
  try:
    yield
  except (StorageError, FileNotFoundError, FileExistsError):
    raise
  except Exception as error:
    raise explain(error, path) from error


def explain(error, path):
  """Returns the StorageError that says what `error` means at the remote `path`."""
  scheme, (bucket, _) = scheme_of(path), bucket_and_key(path)
  code, text = _code(error), str(error) or type(error).__name__
  line = text.splitlines()[0][:200]
  names = {kind.__name__ for kind in type(error).__mro__}
  if 'NoCredentialsError' in names or 'DefaultCredentialsError' in names or code in (
    401, '401', 'InvalidAccessKeyId', 'SignatureDoesNotMatch',
  ):  # fmt: skip
    return StorageError(
      f'{path}: no valid credentials for it here ({line}); {CREDENTIALS[scheme]}.'
    )
  if code in (404, '404', 'NoSuchBucket') or isinstance(error, FileNotFoundError):
    return StorageError(
      f'{path}: no bucket {bucket!r} ({line}); check its name, or make it first.'
    )
  if code in (403, '403', 'AccessDenied') or isinstance(error, PermissionError):
    return StorageError(
      f'{path}: permission denied by {scheme}://{bucket} ({line}); let this account'
      ' list, read, write and delete its objects (role Storage Object User on GCS), or'
      ' give another folder.'
    )
  if is_passing(error):
    return StorageError(
      f'{path}: {scheme}://{bucket} does not answer as it should, after several tries'
      f' ({line}); check the network and the status of the service, and start again.'
    )
  return StorageError(f'{path}: {type(error).__name__}: {line}.')


def _code(error):
  """Returns the status that a library gives, None where it gives none."""
  if isinstance(error, OSError) and str(error).startswith('Forbidden'):
    return 403  # gcsfs
  if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
    return 403  # s3fs
  response = getattr(error, 'response', None)
  if isinstance(response, dict):
    return response.get('Error', {}).get('Code')
  code = getattr(error, 'code', None) or getattr(error, 'status', None)
  cause = error.__cause__
  if code is None and cause is not None and cause is not error:
    return _code(cause)
  return code
