"""Paths from texts: `pathlib.Path` for a local folder, `epath.Path` for a bucket."""

import os
import pathlib
from typing import Any

from gpt_jax.core.errors import ConfigError
from gpt_jax.storage import systems, urls


def place(path, can_be_bucket=False) -> Any:  # no common base: their `stat` differ
  """Returns `path` absolute; ConfigError unless it names a folder, here or in a bucket.

  An absolute `pathlib.Path`, or an `epath.Path` for a URL of `urls.SCHEMES`, whose
  package has to be installed. `can_be_bucket`: a URL may be all of a bucket, to read
  from. Nothing is read.
  """
  text = os.fspath(path)
  if not text.strip():
    raise ConfigError(
      f'{text!r} names no folder, and no run goes to the current one unasked; give one,'
      ' such as runs/tiny, or . for the current one.'
    )
  if '\0' in text:
    raise ConfigError(f'{text!r}: a name of a folder has no zero byte.')
  if url := urls.parse(text, can_be_bucket):
    scheme, bucket, key = url
    return _remote(f'{scheme}://{bucket}/{key}'.rstrip('/'))
  try:
    return pathlib.Path(text).expanduser().absolute()
  except RuntimeError as error:
    raise ConfigError(f'{text}: {error}; give the whole path.') from error


def _remote(url):
  systems.prepare(urls.scheme_of(url))
  from etils import epath  # only where a bucket is used

  from gpt_jax.storage import bucket_paths

  bucket_paths.install()
  return epath.Path(url)
