"""`gpt-jax prepare`: the tokens of the source, whoever makes which shard, and when."""

import dataclasses
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError, Interrupted, StorageError
from gpt_jax.corpus import encode, progress_bar, shard_files, step_flags
from gpt_jax.corpus.shard_report import count_words
from gpt_jax.corpus.step import GlobalStep, Removal, Step
from gpt_jax.data import array_records, pipeline, text_source, tokenizers
from gpt_jax.workdir import lock
from tests import tiny_runs
from tests.corpus import corpora


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
  """Leaves out what only a power cut would show, and most of the time."""
  monkeypatch.setattr(os, 'fsync', lambda descriptor: None)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """Returns a folder with a corpus in each form that is read in parts of its own."""
  from array_record.python import array_record_module

  folder = tmp_path_factory.mktemp('files')
  texts = corpora.texts(130)
  records = [{'text': t, 'q': t[:9], 'a': t[9:], 'kind': len(t) % 3} for t in texts]
  corpora.write_lines(folder / 'many.jsonl', records)
  corpora.write_lines(folder / 'few.jsonl', records[:20])
  for name in ('one.txt', 'two.txt'):
    (folder / name).write_text('\n'.join(corpora.texts(50, seed=len(name))))
  (folder / 'named').mkdir()
  for name in ('train.a', 'train.b', 'valid'):
    (folder / 'named' / f'{name}.txt').write_text(' '.join(texts))
  writer = array_record_module.ArrayRecordWriter(
    str(folder / f'r{array_records.SUFFIXES[0]}'), 'group_size:1'
  )
  for text in texts:
    writer.write(text.encode())
  writer.close()
  return folder


FORMS = {
  'many lines': {'data.source': 'jsonl', 'data.path': 'many.jsonl'},
  'few lines': {'data.source': 'jsonl', 'data.path': 'few.jsonl'},
  'texts': {'data.source': 'text', 'data.path': '*.txt'},
  'named texts': {'data.source': 'text', 'data.path': 'named'},
  'records': {'data.source': 'array_record', 'data.path': '.'},
  'answers': {
    'data.source': 'jsonl', 'data.path': 'many.jsonl', 'data.packing': 'first_fit',
    'data.prompt_field': 'q', 'data.response_field': 'a',
    'data.label_field': 'kind', 'data.num_labels': 3,
  },
  'ids': {'data.source': 'markov'},
  'equations': {'data.source': 'modular'},
}  # fmt: skip
SHORT = {'data.seq_len': 16}


@pytest.mark.parametrize('form', FORMS)
def test_prepared_samples_are_those_of_the_source(form, files, tmp_path, monkeypatch):
  monkeypatch.setattr(encode, '_BATCH_BYTES', 64)  # most documents are long ones
  monkeypatch.setattr(text_source, '_PIECE_BYTES', 40)
  overrides = SHORT | FORMS[form] | {'data.data_dir': str(files)}
  corpora.prepared(tmp_path / 'out', overrides, part_bytes=700)
  config = corpora.config(overrides)
  tokenizer = tokenizers.load(tmp_path / 'out' / 'tokenizer')
  for split, for_eval in (('train', False), ('train', True), ('validation', True)):
    of_source = dataclasses.replace(config.data, split=split)
    of_shards = dataclasses.replace(
      of_source, source='prepared', path=str(tmp_path / 'out')
    )
    one, other = (
      pipeline.open_dataset(
        data, tokenizer, seed=3, cache_dir=tmp_path / 'cache', for_eval=for_eval
      )
      for data in (of_source, of_shards)
    )
    assert len(one) == len(other) and one.num_labels == other.num_labels
    for n in np.linspace(0, len(one) + 3 * (not for_eval) - 1, 20, dtype=int):
      mine, prepared_ = one.sample(n), other.sample(n)
      assert mine.keys() == prepared_.keys()
      for name in mine:
        np.testing.assert_array_equal(mine[name], prepared_[name], err_msg=name)


def test_shards_are_the_same_whoever_makes_them(files, tmp_path):
  overrides = FORMS['many lines'] | {'data.data_dir': str(files)}
  whole = corpora.prepared(tmp_path / 'whole', overrides, part_bytes=1500)
  assert whole['shards'] > 4
  for i in (2, 3, 1):
    found = corpora.prepared(
      tmp_path / 'shares', overrides, part_bytes=1500, share=(i, 3)
    )
    assert (found.get('missing', 0) == 0) == (i == 1)
    assert (tmp_path / 'shares' / 'manifest.json').exists() == (i == 1)
  assert corpora.contents(tmp_path / 'whole') == corpora.contents(tmp_path / 'shares')
  again = corpora.prepared(tmp_path / 'whole', overrides, part_bytes=1500)
  assert again['shards_made_now'] == 0 and again['splits'] == whole['splits']


class Repeated(GlobalStep):
  """Leaves out all documents but the first of the same text."""

  dtype, shape = np.dtype(np.uint8), (32,)

  def survey(self, document):
    return np.frombuffer(document.digest, np.uint8)

  def decide(self, surveys):
    first = {}
    for number, row in enumerate(row.tobytes() for rows in surveys for row in rows):
      if first.setdefault(row, number) != number:
        yield Removal(number, 'seen before', first[row])


class Short(Step):
  def keep(self, document):
    return 'short' if document.text == 'ab' else None


class Twice(Step):
  def copies(self, document):
    return 2


def make_twice(options, context):
  return Twice()


def make_repeated(options, context):
  return Repeated()


def make_short(options, context):
  return Short()


STEPS = [f'{__name__}:make_short', f'{__name__}:make_repeated']


def test_steps_leave_out_what_they_say_in_any_share(tmp_path):
  kept = corpora.texts(110)
  planted = [*kept[:60], '', 'ab', *kept[20:30], *kept[60:], kept[0]]
  corpora.write_lines(tmp_path / 'a.jsonl', [{'text': text} for text in planted])
  overrides = {'data.source': 'jsonl', 'data.path': str(tmp_path / 'a.jsonl')}
  steps = tuple(step_flags.parse(STEPS))
  options = dict(part_bytes=1500, steps=steps)
  found = corpora.prepared(tmp_path / 'whole', overrides, **options)
  short, repeated = (step['left_out'] for step in found['steps'])
  assert (short['short']['documents'], short['short']['bytes']) == (1, 2)
  assert repeated['seen before']['documents'] == 11
  example = repeated['seen before']['examples'][0]
  assert example['because_of'] != example['place']
  assert example['text'].split()[0] == kept[20].split()[0]
  assert sum(s['documents'] for s in found['splits'].values()) == 110
  assert found['read']['documents'] == 122 and found['read']['empty'] == 1
  # Each share by itself: none can decide before all have looked.
  for i in (1, 2):
    with pytest.raises(Interrupted, match='shards are those of other shares'):
      corpora.prepared(tmp_path / 'shares', overrides, share=(i, 3), **options)
  decides = tmp_path / 'shares' / 'steps' / f'1-{__name__}.make_repeated'
  with (
    lock.held(decides),
    pytest.raises(Interrupted, match='is being decided by process.*lock.json'),
  ):
    corpora.prepared(tmp_path / 'shares', overrides, share=(3, 3), **options)
  corpora.prepared(tmp_path / 'shares', overrides, share=(3, 3), **options)
  for i in (1, 2):
    corpora.prepared(tmp_path / 'shares', overrides, share=(i, 3), **options)
  assert corpora.contents(tmp_path / 'whole') == corpora.contents(tmp_path / 'shares')


def test_held_out_records_are_written_once(files, tmp_path):
  overrides = FORMS['answers'] | {'data.data_dir': str(files)}
  once = corpora.prepared(tmp_path / 'once', overrides)['splits']
  steps = tuple(step_flags.parse([f'{__name__}:make_twice']))
  twice = corpora.prepared(tmp_path / 'twice', overrides, steps=steps)['splits']
  times = {name: twice[name]['tokens'] / once[name]['tokens'] for name in once}
  assert times == {'train': 2, 'validation': 1, 'test': 1}


def test_characters_are_those_of_all_splits(tmp_path):
  for name, text in {'train': 'ab', 'valid': 'bc', 'test': 'xyz'}.items():
    (tmp_path / f'{name}.txt').write_text(text)
  overrides = {'data.source': 'text', 'data.path': str(tmp_path / '*.txt')}
  corpora.prepared(tmp_path / 'out', overrides | {'tokenizer.name': 'char'})
  assert tokenizers.load(tmp_path / 'out' / 'tokenizer').vocab_size == 6


def test_the_report_counts_documents_words_and_tokens(tmp_path):
  texts = ['one two  three', 'four\n', 'ünï 中文 x', 'y' * 90]
  (tmp_path / 'train').mkdir()
  for i, text in enumerate(texts):
    (tmp_path / 'train' / f'{i}.txt').write_text(text)
  (tmp_path / 'valid.txt').write_text('a b')
  overrides = {'data.source': 'text', 'data.path': str(tmp_path)}
  found = corpora.prepared(tmp_path / '.out', overrides)
  train, size = found['splits']['train'], sum(len(text.encode()) for text in texts)
  assert train['documents'] == 4 and train['words'] == 9 and train['bytes'] == size
  assert train['tokens'] == size + 4  # bytes, and an end each
  assert train['tokens_per_word'] == round((size + 4) / 9, 4)
  assert found['longest'][0]['tokens'] == 91
  assert found['longest'][0]['place'].endswith('3.txt')
  page = (tmp_path / '.out' / 'report.md').read_text()
  assert f'| train | 4 | {size + 4} |' in page and '* 91 tokens: ' in page
  digests = {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in (tmp_path / '.out').glob('shards/*/train.tokens.bin')
  }
  record = json.loads((tmp_path / '.out' / 'manifest.json').read_text())['shards'][0]
  facts = record['splits']['train']['files']['train.tokens.bin']
  assert digests == {'train.tokens.bin': facts['sha256']}


@pytest.mark.parametrize('text', ['', ' ', 'a', ' a\tb\n\nc ', 'Größe', 'x' * 99])
def test_words_are_what_white_space_divides(text, monkeypatch):
  monkeypatch.setattr('gpt_jax.corpus.shard_report._BLOCK', 3)
  assert count_words(text.encode()) == len(text.split())


@pytest.mark.parametrize(
  'text, count',
  [
    ('红楼梦', 3),
    ('a 中文 b', 4),
    ('第1回。 了', 3),
    ('カラス、x', 3),
    ('한국어 말', 2),
  ],
)
def test_characters_are_words_where_no_spaces_are(text, count, monkeypatch):
  for block in (1, 5, 99):
    monkeypatch.setattr('gpt_jax.corpus.shard_report._BLOCK', block)
    assert count_words(text.encode()) == count


def test_damaged_records_stop_it_or_are_listed(tmp_path):
  lines = ['{"text": "a b"}', '{"text": 1}', '{"text": "cde"}', '[]', '{']
  (tmp_path / 'a.jsonl').write_text('\n'.join(lines[:3]))
  overrides = {'data.source': 'jsonl', 'data.path': str(tmp_path / 'a.jsonl')}
  with pytest.raises(DataError, match="byte 16.*'text' is int, expected text"):
    corpora.prepared(tmp_path / 'out', overrides)
  overrides['data.max_corrupt_records'] = 1
  found = corpora.prepared(tmp_path / 'out', overrides)
  assert found['damaged'] == 1 and 'byte 16' in found['damaged_records'][0]
  assert 'byte 16' in (tmp_path / 'out' / 'report.md').read_text()
  with pytest.raises(DataError, match='max_corrupt_records=0: .*\n.*byte 16'):
    corpora.prepared(tmp_path / 'out', overrides | {'data.max_corrupt_records': 0})
  (tmp_path / 'a.jsonl').write_text('\n'.join(lines))
  with pytest.raises(DataError, match=r'(?s)=2: .*byte 16\).*byte 44\).*byte 47\)'):
    corpora.prepared(tmp_path / 'b', overrides | {'data.max_corrupt_records': 2})


def test_another_corpus_in_the_folder_is_refused(files, tmp_path):
  overrides = FORMS['few lines'] | {'data.data_dir': str(files)}
  corpora.prepared(tmp_path, overrides)
  for other, expected in (
    ({'data.append_eos': False}, 'append_eos: True -> False'),
    ({'data.begin_token': '<s>'}, "begin_token='<s>': prepared corpora have no"),
    ({'data.path': 'many.jsonl'}, 'members..fingerprints'),
    ({'tokenizer.name': 'bpe'}, "tokenizer.name: 'byte' -> 'bpe'"),
  ):
    with pytest.raises(ConfigError, match=expected):
      corpora.prepared(tmp_path, overrides | other)
  steps = tuple(step_flags.parse(STEPS[:1]))
  with pytest.raises(ConfigError, match='steps: '):
    corpora.prepared(tmp_path, overrides, steps=steps)
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'config.json').write_text('{}')
  with pytest.raises(StorageError, match='holds config.json, but no corpus; .*run/c'):
    corpora.prepared(tmp_path / 'run', overrides)
  with pytest.raises(ConfigError, match="lies in data.path='.*report.md is text"):
    text = {'data.source': 'text', 'data.path': str(tmp_path)}
    corpora.prepared(tmp_path / 'deep' / 'in', overrides | text)
  with pytest.raises(ConfigError, match='is prepared already'):
    prepared = {'data.source': 'prepared', 'data.path': str(tmp_path)}
    corpora.prepared(tmp_path / 'again', prepared)


def test_a_full_disk_is_told_with_what_to_do(files, tmp_path, monkeypatch):
  def add(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(shard_files.SplitFiles, 'add', add)
  overrides = FORMS['texts'] | {'data.data_dir': str(files)}
  with pytest.raises(StorageError, match='No space left.*: whole shards are kept'):
    corpora.prepared(tmp_path / 'out', overrides)
  assert not list((tmp_path / 'out' / 'shards').glob('*/*'))


def test_files_are_whole_or_absent(tmp_path, monkeypatch):
  files_ = shard_files.SplitFiles(tmp_path, 'train', np.dtype(np.uint16), ())
  files_.add(np.arange(5))
  files_.abandon()
  assert list(tmp_path.iterdir()) == []
  monkeypatch.setattr(os, 'replace', lambda *names: (_ for _ in ()).throw(OSError()))
  with pytest.raises(OSError):
    shard_files.write_whole(tmp_path / 'a', 'text')
  assert list(tmp_path.iterdir()) == []


def test_files_of_a_killed_process_go_those_of_others_stay(tmp_path):
  left = shard_files.temporary(tmp_path / 'train.tokens.bin')
  left.write_bytes(b'half')
  other = shard_files.SplitFiles(tmp_path, 'test', np.dtype(np.uint16), ())
  shard_files.remove_unfinished(tmp_path)
  assert not left.exists()
  other.add(np.arange(3))
  other.end_document(6)
  other.close()
  assert (tmp_path / 'test.tokens.bin').stat().st_size == 6


def test_answers_to_one_prompt_are_no_copies_of_each_other(tmp_path):
  records = [{'q': 'Why?', 'a': 'Because.'}, {'q': 'Why?', 'a': 'Who knows?'}]
  corpora.write_lines(tmp_path / 'a.jsonl', [*records, records[0]])
  fields = {'prompt_field': 'q', 'response_field': 'a', 'packing': 'first_fit'}
  fields |= {'source': 'jsonl', 'path': str(tmp_path / 'a.jsonl')}
  found = corpora.prepared(
    tmp_path / 'out',
    {f'data.{name}': value for name, value in fields.items()},
    steps=tuple(step_flags.parse(['exact:same=bytes'])),
  )
  (left_out,) = found['steps'][0]['left_out'].values()
  assert left_out['documents'] == 1


def test_progress_is_a_line_now_and_then_without_a_terminal(capsys, monkeypatch):
  monkeypatch.setattr(progress_bar, '_REPORT_SECONDS', 0.0)
  with progress_bar.show() as progress:
    progress(0, 4, 'shards')
    progress(1, 4, 'shards')
  assert 'shards: 1 of 4' in capsys.readouterr().err


COMMAND = """if True:
  import pathlib, sys
  from gpt_jax.corpus import prepare
  from tests.corpus import corpora
  if __name__ == '__main__':
    out, path, processes = sys.argv[1:]
    config = corpora.config({'data.source': 'jsonl', 'data.path': path})
    pathlib.Path(out).mkdir(exist_ok=True)
    prepare.prepare(prepare.Request(
      config, pathlib.Path(out), part_bytes=4000, num_processes=int(processes)))
"""


def start(tmp_path, out, processes):
  script = tmp_path / 'script.py'  # a file: processes of a pool import it
  script.write_text(COMMAND)
  arguments = [str(tmp_path / out), str(tmp_path / 'a.jsonl'), str(processes)]
  environment = {**os.environ, 'PYTHONPATH': str(tiny_runs.ROOT)}
  return subprocess.Popen([sys.executable, str(script), *arguments], env=environment)


@pytest.mark.slow
def test_killed_processes_leave_what_the_next_start_completes(tmp_path):
  records = [{'text': text} for text in corpora.texts(3000)]
  corpora.write_lines(tmp_path / 'a.jsonl', records)
  assert start(tmp_path, 'whole', 1).wait(120) == 0
  killed = 0
  for seconds in (0.5, 1.5, 2.0, 2.5, 3.0):
    process = start(tmp_path, 'killed', 2)
    time.sleep(seconds)
    killed += process.poll() is None
    process.send_signal(signal.SIGINT if seconds == 2.5 else signal.SIGKILL)
    process.wait(60)
  assert start(tmp_path, 'killed', 3).wait(120) == 0
  assert killed
  whole = corpora.contents(tmp_path / 'whole')
  found = corpora.contents(tmp_path / 'killed')
  assert {name: found[name] for name in whole} == whole
  assert not set(found) - set(whole)  # nothing half written is left
