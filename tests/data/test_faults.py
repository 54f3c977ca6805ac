"""Damaged records and token files, dead and hanging reader threads, changed data."""

import ctypes
import logging
import threading
import time

import numpy as np
import pytest

from configs import base
from gpt_jax import cli
from gpt_jax.config import load
from gpt_jax.core.errors import CheckpointError, DataError
from gpt_jax.data import loader, pipeline
from gpt_jax.program import setup
from gpt_jax.train import loop, resume
from tests import tiny_runs
from tests.data.test_sources import write_array_records

RECORDS = [f'record {i} has these words '.encode() * 40 for i in range(30)]


def damage(path, position):
  """Flips a bit of the byte at `position`."""
  content = bytearray(path.read_bytes())
  content[position] ^= 4
  path.write_bytes(content)


@pytest.fixture
def shards(tmp_path):
  """Returns two ArrayRecord files of 15 records each."""
  paths = [tmp_path / f'part-{i}.array_record' for i in range(2)]
  for path, records in zip(paths, (RECORDS[:15], RECORDS[15:]), strict=True):
    write_array_records(path, records)
  return paths


def data(tmp_path, **fields):
  overrides = dict(
    source='array_record', path=str(tmp_path), split='all', seq_len=16, shuffle=False
  )
  dotted = {f'data.{key}': value for key, value in (overrides | fields).items()}
  return load.resolve(base.get_config(), dotted)


def dataset(tmp_path, **fields):
  config = data(tmp_path, **fields)
  tokenizer = pipeline.open_tokenizer(config.tokenizer, config.data)
  return pipeline.open_dataset(
    config.data, tokenizer, seed=0, cache_dir=tmp_path / 'cache'
  )


# Records


def damaged_record(path, count=15):
  """Damages one record of an ArrayRecord file; returns its number, from 0."""
  from array_record.python import array_record_data_source as reader

  whole = path.read_bytes()
  used = len(whole.rstrip(b'\0'))
  for position in range(200, used, 37):
    path.write_bytes(whole)
    damage(path, position)
    try:
      source, bad = reader.ArrayRecordDataSource([str(path)]), []
      for i in range(count):
        try:
          source[i]
        except (RuntimeError, ValueError):
          bad.append(i)
    except (RuntimeError, ValueError, IndexError):
      continue
    if len(bad) == 1 and bad[0]:
      return bad[0]
  raise AssertionError('no byte damages one record alone')


def test_a_damaged_record_stops_the_run_and_is_named(shards, tmp_path):
  record = damaged_record(shards[1])
  with pytest.raises(DataError) as found:
    dataset(tmp_path)
  assert f'{shards[1]}, record {record} (from 0) is damaged' in str(found.value)
  assert 'data.max_corrupt_records' in str(found.value)


def test_damaged_records_are_skipped_up_to_the_limit_and_listed(shards, tmp_path):
  records = [damaged_record(path) for path in shards]
  found = dataset(tmp_path, max_corrupt_records=2)
  assert len(found.stores[''].skipped) == 2
  listed = found.fingerprint['data.skipped']
  for path, record in zip(shards, records, strict=True):
    assert f'{path}, record {record} ' in listed
  text = bytes(t for t in found.stores[''].tokens.tolist() if t < 256)
  left = [r for i, r in enumerate(RECORDS) if i not in (records[0], 15 + records[1])]
  assert text == b''.join(left)
  # Cached tokens do not evade the limit, and their list is the same.
  assert dataset(tmp_path, max_corrupt_records=2).fingerprint == found.fingerprint
  with pytest.raises(DataError, match='data.max_corrupt_records=1.*2 damaged'):
    dataset(tmp_path, max_corrupt_records=1)


def test_more_damaged_records_than_allowed_are_all_named(shards, tmp_path):
  for path in shards:
    damaged_record(path)
  with pytest.raises(DataError, match='data.max_corrupt_records=1') as found:
    dataset(tmp_path, max_corrupt_records=1)
  assert all(f'{path}, record ' in str(found.value) for path in shards)


def test_a_truncated_file_is_named(shards, tmp_path):
  shards[1].write_bytes(shards[1].read_bytes()[:100])
  with pytest.raises(DataError, match=str(shards[1])):
    dataset(tmp_path)


def test_bad_lines_and_bytes_can_be_skipped_too(tmp_path):
  lines = [b'{"text": "%d good words"}' % i for i in range(20)]
  lines[3], lines[7] = b'{"text": "torn', b'{"text": 5}'
  (tmp_path / 'a.jsonl').write_bytes(b'\n'.join(lines))
  with pytest.raises(DataError, match=r'a.jsonl \(record 4'):
    dataset(tmp_path, source='jsonl')
  found = dataset(tmp_path, source='jsonl', max_corrupt_records=5)
  assert len(found.stores[''].skipped) == 2


UNREADABLE = {
  'half a character': (
    b'{"text": "x\\ud83d"}',
    r'lone surrogate \\ud83d\) at position 1',
  ),
  'its bytes': (b'{"text": "\xed\xa0\xbd"}', 'byte 10 is not UTF-8'),
  'nested deeply': (b'{"a": ' + b'[' * 100_000 + b'}', 'nested too deeply'),
  'a long number': (b'{"a": ' + b'9' * 5000 + b'}', 'not JSON'),
}


@pytest.mark.parametrize('kind', UNREADABLE)
@pytest.mark.parametrize('source', ['jsonl', 'array_record'])
def test_json_that_cannot_be_read_names_its_record(source, kind, tmp_path):
  record, reason = UNREADABLE[kind]
  records = [b'{"text": "one of two"}', record, b'{"text": "two of two"}']
  if source == 'jsonl':
    (tmp_path / 'a.jsonl').write_bytes(b'\n'.join(records))
    place = r'a.jsonl \(record 2'
  else:
    write_array_records(tmp_path / 'a.array_record', records)
    place = 'a.array_record, record 1'
  with pytest.raises(DataError, match=f'{place}.*{reason}'):
    dataset(tmp_path, source=source)
  found = dataset(tmp_path, source=source, max_corrupt_records=1)
  assert bytes(t for t in found.stores[''].tokens if t < 256) == b'one of twotwo of two'
  assert len(found.stores[''].skipped) == 1


def test_a_damaged_first_record_does_not_make_json_text(tmp_path):
  records = [UNREADABLE['nested deeply'][0], b'{"text": "one of two words"}']
  write_array_records(tmp_path / 'a.array_record', records)
  found = dataset(tmp_path, max_corrupt_records=1)
  assert bytes(t for t in found.stores[''].tokens if t < 256) == b'one of two words'


def test_without_damage_the_limit_changes_no_fingerprint(shards, tmp_path):
  one, other = dataset(tmp_path), dataset(tmp_path, max_corrupt_records=9)
  assert one.fingerprint == other.fingerprint


# The token cache


def test_any_flipped_byte_of_the_token_cache_is_detected(shards, tmp_path):
  good = dataset(tmp_path)
  samples = [good.sample(n)['tokens'] for n in range(len(good))]
  (folder,) = (tmp_path / 'cache').iterdir()
  rng = np.random.default_rng(0)
  for name in ('tokens.bin', 'offsets.bin', 'checks.bin', 'meta.json'):
    path = folder / name
    whole = path.read_bytes()
    for _ in range(25):
      damage(path, int(rng.integers(len(whole))))
      try:
        found = dataset(tmp_path)
        again = [found.sample(n)['tokens'] for n in range(len(found))]
      except DataError as error:
        assert str(path) in str(error) and 'delete' in str(error)
      else:  # such as white space of the JSON
        np.testing.assert_array_equal(samples, again)
      path.write_bytes(whole)
    path.write_bytes(whole[:-3])
    for _ in ('truncated', 'missing'):
      with pytest.raises(DataError, match=str(path)):
        dataset(tmp_path)
      path.unlink(missing_ok=True)
    path.write_bytes(whole)


# Readers


class Slow:
  """A dataset whose sample 3 comes after `wait()`."""

  prefetch_batches, warn_after_seconds, timeout_seconds = 1, 0.2, 1.2

  def __init__(self, wait):
    self._wait = wait

  def sample(self, n):
    if n == 3:
      self._wait()
    return {'tokens': np.full(4, n)}


def test_a_hanging_reader_is_warned_about_then_times_out(caplog):
  release = threading.Event()
  with loader.Loader(Slow(release.wait)).batches(0, [1] * 9) as batches:
    for _ in range(3):
      next(batches)
    with (
      caplog.at_level(logging.WARNING),
      pytest.raises(DataError, match='data.timeout_seconds=1.2') as found,
    ):
      next(batches)
    release.set()
  assert 'no batch for' in caplog.text and 'reading samples 3 to 3' in caplog.text
  assert 'reading samples 3 to 3' in str(found.value)
  assert 'self._wait()' in str(found.value)  # the line where it hangs


def test_a_slow_reader_is_waited_for():
  with loader.Loader(Slow(lambda: time.sleep(0.7))).batches(0, [1] * 5) as batches:
    assert [int(batch['tokens'][0, 0]) for batch in batches] == [0, 1, 2, 3, 4]


def test_a_reader_thread_that_dies_silently_is_an_error(monkeypatch):
  monkeypatch.setattr(loader, '_put', lambda item, ready, stopped: False)
  with loader.Loader(Slow(print)).batches(0, [1] * 5) as batches:
    with pytest.raises(DataError, match='has died while'):
      next(batches)


def test_an_error_thrown_into_the_thread_reaches_the_consumer():
  waiting = threading.Event()

  def wait():
    waiting.set()
    while True:
      time.sleep(0.01)

  with loader.Loader(Slow(wait)).batches(3, [1] * 5) as batches:
    waiting.wait()
    (thread,) = (t for t in threading.enumerate() if t.name == 'loader')
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
      ctypes.c_ulong(thread.ident), ctypes.py_object(MemoryError)
    )
    with pytest.raises(MemoryError):
      next(batches)


# What may change when a run resumes, and what may not


@pytest.fixture(scope='module')
def trained(tmp_path_factory, text_file):
  """Returns a workdir of three steps on text, and the overrides it was made with."""
  workdir = tmp_path_factory.mktemp('trained')
  overrides = tiny_runs.TEXT | {
    'data.path': str(text_file), 'train.steps': 3, 'eval.sets': {},
    'eval.every_steps': 0,
  }  # fmt: skip
  loop.train(tiny_runs.tiny_config(overrides), workdir, quiet=True)
  return workdir, overrides


CHANGES = {
  'data.seed': 9, 'seed': 9, 'train.batch_size': 16, 'data.seq_len': 32,
  'data.packing': 'windows', 'data.shuffle': False, 'data.append_eos': False,
  'data.split': 'all', 'tokenizer.name': 'char', 'data.mask_documents': True,
}  # fmt: skip


@pytest.mark.parametrize('field', CHANGES)
def test_a_changed_field_of_the_data_is_refused_old_to_new(field, trained):
  workdir, overrides = trained
  changed = tiny_runs.tiny_config(overrides | {field: CHANGES[field]})
  with pytest.raises(CheckpointError, match='--allow_changes') as found:
    loop.train(changed, workdir, quiet=True)
  old = getattr(tiny_runs.tiny_config(overrides), field.split('.')[0])
  old = getattr(old, field.split('.')[-1], old)
  assert f'  {field}: {old!r} -> {CHANGES[field]!r}' in str(found.value)


def test_other_files_are_refused_by_their_content(trained, tmp_path):
  workdir, overrides = trained
  (tmp_path / 'other.txt').write_text(tiny_runs.words(30_000)[::-1])
  tiny_runs.copy(workdir, tmp_path / 'run')
  other = {'data.path': str(tmp_path / 'other.txt')}
  changed = tiny_runs.tiny_config(overrides | other)
  with pytest.raises(CheckpointError, match=r'data.path: .* -> '):
    loop.train(changed, tmp_path / 'run', quiet=True)
  meta = {'fingerprints': {'data': {'data.content': 'a'}, 'tokenizer': 't'}}
  with pytest.raises(CheckpointError, match="data.data.content: 'a' -> 'b'"):
    resume.check_same_data(
      meta, {'data': {'data.content': 'b'}, 'tokenizer': 't'}, workdir
    )


def test_allow_changes_resumes_with_other_data(trained, tmp_path):
  workdir, overrides = trained
  tiny_runs.copy(workdir, tmp_path / 'run')
  flags = tiny_runs.flags(overrides | {'data.seed': 9, 'train.steps': 4})
  line = ['train', *flags, f'--workdir={tmp_path / "run"}']
  assert cli.main(line) == 4
  assert cli.main([*line, '--allow_changes']) == 0


def test_rows_are_the_same_for_any_hosts_and_prefetching(trained):
  workdir, overrides = trained
  config = tiny_runs.tiny_config(overrides)
  tokenizer = setup.open_tokenizer(config, workdir)
  samples = setup.open_training_data(config, tokenizer, workdir)

  def rows(count, ahead, start):
    hosts = [
      loader.Loader(samples, index, count, ahead).batches(start, [8] * 3)
      for index in range(count)
    ]
    return np.concatenate(
      [batch['tokens'] for step in zip(*hosts, strict=True) for batch in step]
    )

  expected = rows(1, 1, 24)
  for count, ahead in ((2, 1), (4, 3), (8, 2)):
    np.testing.assert_array_equal(rows(count, ahead, 24), expected)


@pytest.mark.slow
def test_a_run_resumes_with_another_prefetch_depth(trained, tmp_path):
  workdir, overrides = trained
  tiny_runs.copy(workdir, tmp_path / 'run')
  longer = overrides | {'train.steps': 5}
  ahead = longer | {'data.prefetch_batches': 5, 'data.timeout_seconds': 99.0}
  loop.train(tiny_runs.tiny_config(ahead), tmp_path / 'run', quiet=True)
  loop.train(tiny_runs.tiny_config(longer), tmp_path / 'straight', quiet=True)
  assert tiny_runs.losses(tmp_path / 'run') == tiny_runs.losses(tmp_path / 'straight')
