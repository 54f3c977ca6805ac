"""`gpt-jax prepare` from and to a bucket, and training batches read from there."""

import hashlib

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.corpus import prepare, step_flags
from gpt_jax.data import pipeline, range_reader
from gpt_jax.data.loader import Loader
from gpt_jax.storage import bucket_paths
from gpt_jax.storage.places import place
from tests.corpus import corpora
from tests.corpus.test_prepare import STEPS
from tests.storage.buckets import both


def prepared(out, path, **options):
  fields = {'data.source': 'jsonl', 'data.path': path}
  request = prepare.Request(corpora.config(fields), out, part_bytes=6000, **options)
  return prepare.prepare(request)


def contents(url):
  """Returns {file: digest} of all objects below a URL."""
  return {
    name.removeprefix(f'{url}/'): hashlib.sha256(bucket_paths.read(name)).hexdigest()
    for name, _ in bucket_paths.files_below(url)
  }


def open_dataset(path):
  fields = {'data.source': 'prepared', 'data.path': path, 'data.seq_len': 16}
  config = corpora.config(fields)
  tokenizer = pipeline.open_tokenizer(config.tokenizer, config.data)
  return pipeline.open_dataset(config.data, tokenizer, seed=0, cache_dir='')


@pytest.mark.slow
@pytest.mark.parametrize('every', [0, 10])
def test_shards_in_a_bucket_are_those_of_a_folder(bucket, tmp_path, every):
  url, faults = bucket
  lines = [{'text': text} for text in corpora.texts(150)]
  corpora.write_lines(tmp_path / 'a.jsonl', lines)
  place(f'{url}/text/a.jsonl').write_bytes((tmp_path / 'a.jsonl').read_bytes())
  faults.every = every  # one request in so many fails
  options = dict(steps=tuple(step_flags.parse(STEPS)))
  (tmp_path / 'out').mkdir()
  prepared(tmp_path / 'out', str(tmp_path / 'a.jsonl'), **options)
  found = prepared(f'{url}/out', f'{url}/text/', **options)
  assert found['shards'] > 2
  here, there = corpora.contents(tmp_path / 'out'), contents(f'{url}/out')
  arrays = [name for name in here if name.endswith('.bin')]
  assert arrays and {name: there[name] for name in arrays} == {
    name: here[name] for name in arrays
  }


@pytest.mark.slow
@both
def test_batches_from_a_bucket_are_those_of_a_folder(bucket, tmp_path, monkeypatch):
  monkeypatch.setattr(range_reader, '_CACHE_BYTES', 1 << 16)
  url, faults = bucket
  lines = [{'text': text} for text in corpora.texts(150)]
  corpora.write_lines(tmp_path / 'a.jsonl', lines)
  (tmp_path / 'out').mkdir()
  prepared(tmp_path / 'out', str(tmp_path / 'a.jsonl'))
  for path in (tmp_path / 'out').rglob('*'):
    if path.is_file():
      name = path.relative_to(tmp_path / 'out').as_posix()
      place(f'{url}/out/{name}').write_bytes(path.read_bytes())
  here, there = open_dataset(str(tmp_path / 'out')), open_dataset(f'{url}/out')
  assert here.fingerprint == there.fingerprint
  faults.every = 10
  with (
    Loader(here).batches(0, [32] * 4) as mine,
    Loader(there).batches(0, [32] * 4) as remote,
  ):
    for one, other in zip(mine, remote, strict=True):
      np.testing.assert_array_equal(one['tokens'], other['tokens'])
  faults.every = 0
  place(f'{url}/out/shards/00001/train.tokens.bin').unlink()
  with pytest.raises(DataError, match='00001/train.tokens.bin: is missing'):
    open_dataset(f'{url}/out')
