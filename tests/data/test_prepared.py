"""`data.source=prepared`: shards read as one, and what is refused with its way out."""

import io
import json
import pathlib

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.corpus import prepare
from gpt_jax.data import make_source, manifest, pipeline, range_reader, sharded_store
from gpt_jax.data.file_bytes import FileBytes
from gpt_jax.data.sharded_store import ShardedStore
from gpt_jax.program import setup
from gpt_jax.train import loop
from tests import tiny_runs
from tests.corpus import corpora


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Returns a folder with a prepared corpus of several shards, `out`."""
  folder = tmp_path_factory.mktemp('prepared')
  records = [{'text': text} for text in corpora.texts(120)]
  corpora.write_lines(folder / 'a.jsonl', records)
  overrides = {'data.source': 'jsonl', 'data.path': str(folder / 'a.jsonl')}
  (folder / 'out').mkdir()
  request = prepare.Request(corpora.config(overrides), folder / 'out', part_bytes=4000)
  prepare.prepare(request)
  return folder


@pytest.fixture
def copy(folder, tmp_path):
  """Returns a copy of it that may be damaged."""
  for path in (folder / 'out').rglob('*'):
    if path.is_file():
      target = tmp_path / 'out' / path.relative_to(folder / 'out')
      target.parent.mkdir(parents=True, exist_ok=True)
      target.write_bytes(path.read_bytes())
  return tmp_path / 'out'


def config(path, **overrides):
  fields = {'data.source': 'prepared', 'data.path': str(path), 'data.seq_len': 16}
  return corpora.config(fields | {f'data.{k}': v for k, v in overrides.items()})


def open_dataset(path, **overrides):
  cfg = config(path, **overrides)
  tokenizer = pipeline.open_tokenizer(cfg.tokenizer, cfg.data)
  return pipeline.open_dataset(cfg.data, tokenizer, seed=0, cache_dir='')


def store_of(path, split='train'):
  (store,) = open_dataset(path, split=split).stores.values()
  assert isinstance(store, ShardedStore)
  return store


def test_any_stretch_is_that_of_all_shards_joined(folder, monkeypatch):
  monkeypatch.setattr(range_reader, '_MAX_OPEN', 2)
  monkeypatch.setattr(sharded_store, '_OFFSETS_BETWEEN_MARKS', 3)
  parts = sorted((folder / 'out').glob('shards/*/train.tokens.bin'))
  whole = np.concatenate([np.fromfile(part, np.uint16) for part in parts])
  sizes = [part.stat().st_size // 2 for part in parts]
  assert len(parts) > 3
  store, rng = store_of(folder / 'out'), np.random.default_rng(0)
  ends = np.cumsum(sizes)
  stretches = [(e - 1, e + 1) for e in ends[:-1]] + [(0, len(whole)), (3, 3)]
  stretches += [sorted(rng.integers(0, len(whole) + 1, 2)) for _ in range(50)]
  for start, stop in stretches:
    np.testing.assert_array_equal(store.read(start, stop), whole[start:stop])
  assert (store.num_tokens, len(store.offsets) - 1) == (len(whole), store.num_documents)
  for start, stop in stretches:
    inside = store.offsets[(store.offsets > start) & (store.offsets < stop)]
    if start < stop:
      np.testing.assert_array_equal(store.document_starts(start, stop), inside)


def test_splits_join_and_masks_are_those_of_one_file(folder):
  both = store_of(folder / 'out', 'validation+test')
  parts = [store_of(folder / 'out', split) for split in ('validation', 'test')]
  joined = np.concatenate([part.read(0, part.num_tokens) for part in parts])
  np.testing.assert_array_equal(both.read(0, both.num_tokens), joined)
  total = store_of(folder / 'out', 'all').num_documents
  assert total == 120
  masked = open_dataset(folder / 'out', mask_documents=True)
  sample = masked.sample(3)
  ends = np.flatnonzero(sample['tokens'][:-1] == 256)
  assert np.flatnonzero(np.diff(sample['segments'])).tolist() == ends.tolist()


def test_fields_without_a_value_have_that_of_a_mixture(folder):
  store = store_of(folder / 'out').with_fields(['loss_mask', 'labels'])
  assert store.fields['loss_mask'].read(2, 5).tolist() == [1, 1, 1]
  assert store.fields['labels'].read(2, 4).tolist() == [-1, -1]
  assert store.with_fields(['other']) is None


def test_damage_is_found_when_it_is_read(copy):
  (path,) = copy.glob('shards/00001/train.tokens.bin')
  content = bytearray(path.read_bytes())
  content[100] ^= 1
  path.write_bytes(content)
  store = store_of(copy)
  with pytest.raises(
    DataError, match='00001/train.tokens.bin: bytes from 0 on are not'
  ):
    store.read(0, store.num_tokens)
  checks = path.with_name('train.tokens.checks.bin')
  checks.write_bytes(b'\0' * checks.stat().st_size)
  with pytest.raises(DataError, match='checks.bin: is not as written'):
    store_of(copy).read(0, store.num_tokens)


def test_missing_and_cut_files_are_found_at_the_start(copy):
  path = copy / 'shards' / '00002' / 'train.tokens.bin'
  size = path.stat().st_size
  path.write_bytes(path.read_bytes()[:-2])
  with pytest.raises(DataError, match=f'has {size - 2:,} bytes instead of {size:,}'):
    open_dataset(copy)
  path.unlink()
  with pytest.raises(
    DataError, match='00002/train.tokens.bin: is missing.*makes it anew'
  ):
    open_dataset(copy)


def test_a_damaged_or_unfinished_manifest_is_named(copy, tmp_path):
  path = copy / manifest.MANIFEST
  text = path.read_text()
  path.write_text(text.replace('"append_eos": true', '"append_eos": false'))
  with pytest.raises(DataError, match='manifest.json: not as written'):
    open_dataset(copy)
  values = json.loads(text) | {'format': 99}
  del values['self_crc32']
  values['self_crc32'] = manifest._crc32(values)
  path.write_text(json.dumps(values))
  with pytest.raises(DataError, match='format=99, and this version reads 1'):
    open_dataset(copy)
  path.unlink()
  with pytest.raises(DataError, match='not finished: start the same'):
    open_dataset(copy)
  with pytest.raises(DataError, match='no such folder'):
    open_dataset(tmp_path / 'nowhere')


def test_settings_of_another_corpus_are_refused(folder):
  out = folder / 'out'
  for overrides, expected in (
    ({'append_eos': False}, 'was prepared with True'),
    ({'begin_token': '<s>'}, "begin_token='<s>': documents of"),
    ({'split': 'trian'}, 'has test, train, validation'),
    ({'name': 'wiki'}, 'leave data.name empty'),
    ({'path': ''}, 'data.path is empty'),
  ):
    with pytest.raises((ConfigError, DataError), match=expected):
      open_dataset(**{'path': out, **overrides})
  with pytest.raises(ConfigError, match='data.prompt_field='):
    fields = dict(prompt_field='q', response_field='a')
    make_source(config(out, **fields).data)


def test_a_manifest_of_another_tokenizer_is_refused(folder, tmp_path):
  fields = {'data.source': 'prepared', 'data.path': str(folder / 'out')}
  cfg = corpora.config(fields | {'tokenizer.name': 'bpe'})
  with pytest.raises(ConfigError, match="tokenizer.name: 'byte' -> 'bpe'.*prepared"):
    setup.open_tokenizer(cfg, tmp_path)
  mine = pipeline.open_tokenizer(
    corpora.config({'tokenizer.name': 'char', 'data.source': 'text',
      'data.path': str(pathlib.Path(__file__))}).tokenizer,
    corpora.config({'data.source': 'text', 'data.path': __file__[:-3] + '*.py'}).data,
  )  # fmt: skip
  with pytest.raises(ConfigError, match='a byte of 257 tokens, than that of this run'):
    pipeline.open_dataset(cfg.data, mine, seed=0, cache_dir='')


def test_the_fingerprint_follows_the_tokens_not_the_place(folder, copy):
  first, second = open_dataset(folder / 'out'), open_dataset(copy)
  assert first.fingerprint == second.fingerprint
  other = open_dataset(copy, split='test')
  assert other.fingerprint['data.content'] != first.fingerprint['data.content']


def test_a_run_brings_the_tokenizer_along(folder, tmp_path):
  cfg = config(folder / 'out')
  found = setup.open_tokenizer(cfg, tmp_path)
  saved = (folder / 'out' / 'tokenizer' / 'definition.json').read_text()
  assert (tmp_path / 'tokenizer' / 'definition.json').read_text() == saved
  assert found.vocab_size == 257


def test_bytes_of_a_file_are_read_where_they_are():
  content = FileBytes(io.BytesIO(bytes(range(50))), 5, 45)
  assert len(content) == 40 and content[0] == 5 and content[-1] == 44
  assert content[3:6] == bytes([8, 9, 10]) and content[38:99] == bytes([43, 44])
  assert content[9:2] == b'' and content.stretch(2, 4)[:] == bytes([7, 8])
  assert b''.join(content.blocks(7)) == bytes(range(5, 45))
  with pytest.raises(IndexError):
    content[40]


@pytest.mark.slow
def test_training_from_shards_is_training_from_the_source(folder, tmp_path):
  forms = {
    'text': {'data.source': 'jsonl', 'data.path': str(folder / 'a.jsonl')},
    'shards': {'data.source': 'prepared', 'data.path': str(folder / 'out')},
  }
  for name, overrides in forms.items():
    cfg = corpora.config(overrides | {'data.seq_len': 16})
    loop.train(cfg, tmp_path / name, quiet=True)
  losses = tiny_runs.lines(tmp_path / 'text')
  assert losses and losses == tiny_runs.lines(tmp_path / 'shards')
  same = (tiny_runs.saved_arrays(tmp_path / name) for name in forms)
  tiny_runs.assert_same(*same)


def test_blocks_that_all_readers_keep_have_one_bound(monkeypatch):
  monkeypatch.setattr(range_reader, '_blocks', range_reader.Blocks())
  monkeypatch.setenv('GPT_JAX_READ_CACHE_MB', '1')
  content, asked = np.random.default_rng(0).bytes(3 << 20), []

  def read(path, start, stop):
    asked.append((path, start, stop))
    return content[start:stop]

  monkeypatch.setattr(range_reader.bucket_paths, 'read', read)
  readers = [range_reader.BucketReader() for _ in range(2)]
  for start in range(0, len(content), 100_000):
    for reader in readers:
      found = reader('gs://bucket/x', start, 90_000)
      assert found == content[start : start + 90_000]
  assert range_reader._blocks._size <= 1 << 20
  num_asked = len(asked)
  assert readers[1]('gs://bucket/x', len(content) - 100, 200) == content[-100:]
  assert len(asked) == num_asked  # the last block is still here
  monkeypatch.setenv('GPT_JAX_READ_CACHE_MB', 'all')
  with pytest.raises(ConfigError, match="GPT_JAX_READ_CACHE_MB='all': expected MB"):
    range_reader.BucketReader()
