"""What a URL names: scheme, bucket and key.

`gs://` and `s3://` are buckets; any other scheme is refused by name, so that no local
folder called `gs:` is ever made.
"""

import os
import re
import shlex

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest

SCHEMES = {
  'gs': ('Google Cloud Storage', 'gcsfs', 'gcs'),
  's3': ('Amazon S3', 's3fs', 's3'),
}
"""scheme -> (what it is, the package that reads it, the extra that installs that)."""

_URL = re.compile(r'([A-Za-z][A-Za-z0-9+.-]+):(/+)(.*)', re.DOTALL)
_BUCKET = re.compile(r'[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]')
_SPECIAL = re.compile(r'[\x00-\x1f\x7f*?\[\]#\\]')


def is_remote(path):
  """Returns whether `path`, a path or text, lies in a bucket."""
  return os.fspath(path).startswith(tuple(f'{scheme}://' for scheme in SCHEMES))


def is_url(text):
  """Returns whether `text` has the form of a URL, known or not."""
  return _URL.fullmatch(text) is not None


def split_pattern(url):
  """Returns (the part of `url` before a glob, the glob below it or '')."""
  head, *parts = url.split('/')
  is_glob = [n > 1 and bool(re.search(r'[*?\[]', p)) for n, p in enumerate(parts)]
  first = is_glob.index(True) if True in is_glob else len(parts)
  return '/'.join([head, *parts[:first]]), '/'.join(parts[first:])


def bucket_and_key(path):
  """Returns (bucket, name in it) of a remote path."""
  bucket, _, key = os.fspath(path).partition('://')[2].partition('/')
  return bucket, key


def move_command(path, target):
  """Returns the shell command that moves a folder, here or in a bucket."""
  tool = {'gs': 'gcloud storage mv', 's3': 'aws s3 mv --recursive'}
  command = tool.get(scheme_of(path), 'mv') if is_remote(path) else 'mv'
  return f'{command} {shlex.quote(str(path))} {shlex.quote(str(target))}'


def list_command(path):
  """Returns the shell command that lists a folder of a bucket."""
  tool = {'gs': 'gcloud storage ls', 's3': 'aws s3 ls'}[scheme_of(path)]
  return f'{tool} {shlex.quote(str(path))}/'


def scheme_of(path):
  return os.fspath(path).partition('://')[0]


def parse(text, can_be_bucket=False):
  """Returns (scheme, bucket, key) of a URL, None for what is none.

  Raises ConfigError for a URL that names no folder of a bucket of SCHEMES, nor, where
  it `can_be_bucket`, all of one.
  """
  url = _URL.fullmatch(text)
  if url is None:
    return None
  scheme, slashes, rest = url.groups()
  known = ', '.join(f'{name}:// ({what})' for name, (what, *_) in SCHEMES.items())
  if scheme == 'file':
    raise ConfigError(
      f'{text}: a URL; give the path alone, /{rest.lstrip("/")}, without file://.'
    )
  if scheme not in SCHEMES:
    hint = nearest(scheme, SCHEMES)
    raise ConfigError(
      f'{text}: {scheme}:// is no storage that gpt-jax knows; expected {known}, or a'
      ' folder of a mounted file system'
      + (f'. Did you mean {hint}://{rest}?' if hint else '.')
    )
  if len(slashes) != 2:
    right = f'{scheme}://{rest}'
    raise ConfigError(f'{text}: expected two slashes after the scheme: {right}.')
  bucket, _, key = rest.rstrip('/').partition('/')
  if not _BUCKET.fullmatch(bucket):
    raise ConfigError(
      f'{text}: {bucket!r} is no name of a bucket; expected {scheme}://BUCKET/FOLDER,'
      ' the bucket of 3 or more small letters, digits, and .-_ between them.'
    )
  if can_be_bucket and not key:
    return scheme, bucket, key
  if problem := _why_no_key(key):
    raise ConfigError(f'{text}: {problem}; expected {scheme}://{bucket}/FOLDER.')
  return scheme, bucket, key


def _why_no_key(key):
  if not key:
    return 'names no folder in the bucket'
  if special := _SPECIAL.search(key):
    return f'{special.group()!r} cannot be in the name of an object'
  if any(part in ('', '.', '..') for part in key.split('/')):
    return 'an empty part, . or .. means nothing in a bucket'
  return ''
