"""gcsfs with its patience turned down: how long a request is made again is ours to say.

gcsfs makes each request six times, over half a minute, and an operation may be several
requests: where nothing answers, waits would add up to minutes without a word. Here a
request is made again for a moment, which a server that fails now and then needs;
`patience.patiently` then makes the operation again, with one budget for all.
"""

import asyncio
import random
import time

import aiohttp
from gcsfs.core import GCSFileSystem

from gpt_jax.storage.failures import is_passing

WAITS = (0.1, 0.4, 1.0)
"""Seconds before each further try of a request."""
TRY_SECONDS = 5.0
"""After which a request is not made again here."""
TIMEOUTS = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)


class NoSuchBucketError(FileNotFoundError):
  """The bucket is what is not there; gcsfs says the same of an object."""

  code = 'NoSuchBucket'


class GcsRequests(GCSFileSystem):
  """The file system of gs://."""

  def __init__(self, *args, **settings):
    super().__init__(*args, **{'requests_timeout': TIMEOUTS} | settings)

  async def _request(self, method, path, *args, **options):
    try:
      return await self._try(method, path, *args, **options)
    except FileNotFoundError as error:
      if path.endswith('/o'):  # a listing or an upload, which names no object
        raise NoSuchBucketError(*error.args) from error
      raise

  async def _try(self, method, path, *args, **options):
    make = GCSFileSystem._request.__wrapped__  # without gcsfs' own tries
    began = time.monotonic()
    for wait in WAITS:
      try:
        return await make(self, method, path, *args, **options)
      except Exception as error:
        is_over = time.monotonic() - began > TRY_SECONDS
        if is_over or not (is_passing(error) or _is_expired(error)):
          raise
      await asyncio.sleep(wait * (0.5 + random.random()))
    return await make(self, method, path, *args, **options)


def _is_expired(error):
  """Returns whether a token may have expired on its way; the next is a new one."""
  is_refused = getattr(error, 'code', None) in (401, '401')
  return is_refused and 'Invalid Credentials' in str(error)
