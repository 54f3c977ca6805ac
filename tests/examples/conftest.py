"""A way to write small files and read them; an emulated bucket."""

import json

import pytest

from gpt_jax.examples import splits
from tests.storage.buckets import bucket, bucket_server_here  # noqa: F401


@pytest.fixture
def write(tmp_path):
  """Returns `(name, content) -> path`; content is text, bytes, or a JSON value."""

  def write(name, content):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str | bytes):
      is_lines = name.endswith('.jsonl')
      content = '\n'.join(map(json.dumps, content)) if is_lines else json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

  return write


@pytest.fixture
def values_of(tmp_path):
  """Returns `(names, reader) -> the values of the records` of files of `write`."""

  def values_of(names, reader, columns=None, **options):
    names = [names] if isinstance(names, str) else names
    options = {'data_dir': str(tmp_path)} | options
    return [one.values for one in splits.read(names, reader, columns or {}, **options)]

  return values_of
