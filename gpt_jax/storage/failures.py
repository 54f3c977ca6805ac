"""What buckets answer, as StorageErrors: which path, what is wrong, the way out.

Requests that fail in passing (429, 5xx, cut connections) are made again
(`storage/patience.py`); all others end at once.
"""

import contextlib
import errno
import re

from gpt_jax.core.errors import StorageError
from gpt_jax.storage.urls import bucket_and_key, is_remote, scheme_of

_STATUS = {408, 429, 500, 502, 503, 504}
PASSING = {
  *_STATUS, *map(str, _STATUS),
  # S3, which gives names; the last: another write of the same object was under way.
  'InternalError', 'ServiceUnavailable', 'SlowDown', 'RequestTimeout', 'Throttling',
  'ThrottlingException', 'OperationAborted', 'ConditionalRequestConflict',
}  # fmt: skip
NO_CREDENTIALS = {
  401, '401', 'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken',
  'InvalidToken', 'TokenRefreshRequired', 'RequestTimeTooSkewed',
  # What google-auth and botocore raise by themselves.
  'DefaultCredentialsError', 'NoCredentialsError', 'PartialCredentialsError',
  'CredentialRetrievalError', 'ProfileNotFound', 'TokenRetrievalError', 'SSOError',
}  # fmt: skip

CREDENTIALS = {
  'gs': (
    'run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS'
    ' to the file of a service account'
  ),
  's3': (
    'run `aws configure`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and'
    ' AWS_SECRET_ACCESS_KEY; for another store than Amazon AWS_ENDPOINT_URL as well'
  ),
}
RIGHTS = {
  'gs': 'role Storage Object User',
  's3': 's3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject',
}
_TENSORSTORE = {
  'PERMISSION_DENIED': 403,
  'UNAUTHENTICATED': 401,
  'RESOURCE_EXHAUSTED': 429,
  'UNAVAILABLE': 503,
  'DEADLINE_EXCEEDED': 504,
  'ABORTED': 503,
}
"""How the ValueErrors of TensorStore begin, before the name that S3 gave, if any."""
_ANSWER = re.compile(r' \[(http_|x-amz).*')
"""What they end with."""


def is_passing(error):
  """Returns whether the same request may succeed a moment later."""
  if isinstance(error, FileNotFoundError | FileExistsError | PermissionError):
    return False
  code = code_of(error)
  if code is not None:
    return code in PASSING
  names = {kind.__name__ for kind in type(error).__mro__}
  passing = {
    'ClientError', 'TimeoutError', 'ConnectionError', 'ProxyError', 'ChecksumError',
    'IncompleteReadError', 'HTTPClientError', 'FSTimeoutError', 'TransportError',
  }  # fmt: skip
  return bool(names & passing) and not names & NO_CREDENTIALS


def of_store(error, path):
  """Returns the StorageError of a store that refuses or is away; else `error` itself.

  TensorStore says so by the error that damaged arrays have, too.
  """
  if not is_remote(path) or code_of(error) not in {403, *PASSING, *NO_CREDENTIALS}:
    return error
  return explain(error, path)


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
  code, line = code_of(error), first_line(error)
  names = {kind.__name__ for kind in type(error).__mro__}
  if {code, *names} & NO_CREDENTIALS:
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
      f' list, read, write and delete its objects ({RIGHTS[scheme]}), or give another'
      ' folder.'
    )
  if is_passing(error):
    return StorageError(
      f'{path}: {scheme}://{bucket} does not answer as it should, after several tries'
      f' ({line}); check the network and the status of the service, and start again.'
    )
  return StorageError(f'{path}: {type(error).__name__}: {line}.')


def first_line(error):
  """Returns what an error of a library says, or those that it was raised from."""
  text = str(error).strip()
  if text in ('', 'None') and error.__cause__ is not None:  # a store without messages
    return first_line(error.__cause__)
  if not text:
    return type(error).__name__
  return _ANSWER.sub('', text.splitlines()[0])[:200]


def code_of(error):
  """Returns the status or the name that a library gives, None where it gives none."""
  if isinstance(error, OSError) and str(error).startswith('Forbidden'):
    return 403  # gcsfs
  if isinstance(error, ValueError):
    return _code_of_tensorstore(str(error))
  response = getattr(error, 'response', None)  # botocore
  if isinstance(response, dict):
    return response.get('Error', {}).get('Code')
  code = getattr(error, 'code', None) or getattr(error, 'status', None)
  cause = error.__cause__
  if code is None and cause is not None and cause is not error:
    code = code_of(cause)
  if code is None and isinstance(error, OSError):
    return 403 if error.errno in (errno.EACCES, errno.EPERM) else None
  return code


def _code_of_tensorstore(text):
  status, _, rest = text.partition(': ')
  name = rest.partition(':')[0]
  if name in PASSING | NO_CREDENTIALS | {'NoSuchBucket'}:
    return name
  return 401 if "http_response_code='401'" in text else _TENSORSTORE.get(status)
