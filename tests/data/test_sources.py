"""Text sources: files, splits, fingerprints, refusals; the interface of all sources."""

import dataclasses
import functools
import gzip
import json

import numpy as np
import pytest

from configs import base
from gpt_jax import data as sources
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import python_library, splits, text_source
from tests.corpus import corpora

SPLITS = ('train', 'validation', 'test')


def config(**fields):
  """Returns a DataConfig with `fields` over those of base.py."""
  named = {f'data.{name}': value for name, value in fields.items()}
  registries = {'data.source': sources.SOURCES}
  return load.resolve(base.get_config(), named, registries).data


def texts_of(source):
  return [source[i]['text'] for i in range(len(source))]


def texts(**fields):
  return texts_of(sources.make_source(config(**fields)))


def write_json_lines(path, records):
  path.write_text(''.join(json.dumps(record) + '\n' for record in records))


def write_array_records(path, records):
  from array_record.python import array_record_module

  writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
  for record in records:
    writer.write(record)
  writer.close()


def test_one_file_is_split_90_5_5_by_position(tmp_path):
  content = ''.join(f'line {i}\n' for i in range(1000))
  (tmp_path / 'book.txt').write_text(content)
  parts = [
    texts(source='text', path=str(tmp_path / 'book.txt'), split=s) for s in SPLITS
  ]
  assert ''.join(part[0] for part in parts) == content
  bounds = [int(len(content) * 0.9), int(len(content) * 0.95)]
  assert parts[0] == [content[: bounds[0]]]
  assert parts[1] == [content[bounds[0] : bounds[1]]]


def test_a_bound_never_cuts_a_character(tmp_path):
  for count in range(30, 50):
    content = '语' * count
    (tmp_path / 'zh.txt').write_text(content, encoding='utf-8')
    parts = [
      texts(source='text', path=str(tmp_path / 'zh.txt'), split=s) for s in SPLITS
    ]
    assert ''.join(part[0] for part in parts) == content


def test_many_documents_are_split_by_a_hash_of_their_content(tmp_path):
  records = [{'text': f'document {i}'} for i in range(1000)]
  write_json_lines(tmp_path / 'a.jsonl', records + records[:100])
  parts = {s: texts(source='jsonl', path=str(tmp_path), split=s) for s in SPLITS}
  assert sorted(sum(parts.values(), [])) == sorted(
    record['text'] for record in records + records[:100]
  )
  # Copies of a document stay together, so splits share none.
  assert not set(parts['train']) & set(parts['validation'] + parts['test'])
  assert 850 < len(parts['train']) * 1000 / 1100 < 950


def test_file_names_give_the_splits_when_all_carry_one(tmp_path):
  for name in ('wiki.train.txt', 'wiki.valid.txt', 'wiki.test.txt'):
    (tmp_path / name).write_text(name)
  for split, name in zip(SPLITS, ('train', 'valid', 'test'), strict=True):
    found = texts(source='text', path=str(tmp_path), split=split)
    assert found == [f'wiki.{name}.txt']
  (tmp_path / 'wiki.train.txt').unlink()
  with pytest.raises(DataError, match='named after other splits.*valid'):
    sources.make_source(config(source='text', path=str(tmp_path)))
  # A file without a split's name: only when asked to do the names decide nothing.
  (tmp_path / 'notes.txt').write_text('notes')
  here = dict(source='text', path=str(tmp_path))
  assert len(sources.make_source(config(**here, split_by='content'))) == 3


def test_gz_glob_folder_and_byte_order_mark_give_the_same_text(tmp_path):
  content = 'Ein schöner Tag.\n' * 50
  (tmp_path / 'a.txt').write_bytes(b'\xef\xbb\xbf' + content.encode())
  (tmp_path / 'b.txt.gz').write_bytes(gzip.compress(content.encode()))
  for path in ('a.txt', 'b.txt.gz', '*.gz'):
    where = str(tmp_path / path)
    assert texts(source='text', path=where, split='all') == [content]
  assert texts(source='text', path=str(tmp_path), split='all') == [content] * 2


def test_a_glob_is_found_below_a_folder_with_brackets(tmp_path, monkeypatch):
  for name in ('x[1]', 'x1'):
    (tmp_path / name / 'data').mkdir(parents=True)
    (tmp_path / name / 'data' / 'a.txt').write_text(name)
  monkeypatch.chdir(tmp_path / 'x[1]')
  for path in ('data/*.txt', '*/a.txt', str(tmp_path / 'x[1]' / 'data' / '*.txt')):
    assert texts(source='text', path=path, split='all') == ['x[1]']
  assert texts(source='text', path=f'{tmp_path}/x[12]/**/*.txt', split='all') == ['x1']


def test_relative_paths_are_found_in_data_dir_then_environment(tmp_path, monkeypatch):
  for name in ('one', 'two'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'a.txt').write_text(name)
  monkeypatch.setenv('GPT_JAX_DATA', str(tmp_path / 'two'))
  here = dict(source='text', path='a.txt', split='all')
  assert texts(**here) == ['two']
  assert texts(**here, data_dir=str(tmp_path / 'one')) == ['one']


def test_pieces_join_to_the_document_and_are_cut_before_spaces(tmp_path):
  content = 'Ein schöner 语 Tag, \n\n und   mehr.\n' * 100_000
  (tmp_path / 'big.txt').write_text(content, encoding='utf-8')
  source = sources.make_source(config(source='text', path=str(tmp_path), split='all'))
  pieces = list(source.pieces(0))
  assert len(pieces) > 2 and ''.join(pieces) == content
  for piece, following in zip(pieces, pieces[1:], strict=False):
    assert piece[-1].isalnum() and following[0] in ' \n'


def test_pieces_without_any_space_are_cut_between_characters(tmp_path, monkeypatch):
  monkeypatch.setattr(text_source, '_PIECE_BYTES', 100)
  (tmp_path / 'zh.txt').write_text('语言模型' * 100, encoding='utf-8')
  source = sources.make_source(config(source='text', path=str(tmp_path), split='all'))
  assert ''.join(source.pieces(0)) == '语言模型' * 100


def test_array_records_hold_text_or_json_objects(tmp_path):
  write_array_records(tmp_path / 'a.array_record', ['erste Übung'.encode(), b'{two'])
  write_array_records(
    tmp_path / 'b.arrayrecord', [b'{"body": "one"}', b'{"body": "2"}']
  )
  here = dict(source='array_record', split='all', text_field='body')
  assert texts(**here, path=str(tmp_path / 'a*')) == ['erste Übung', '{two']
  assert texts(**here, path=str(tmp_path / 'b*')) == ['one', '2']


def test_fingerprints_depend_on_content_and_split_not_on_paths(tmp_path):
  for folder in ('x', 'y'):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / 'a.txt').write_text('same')
  one, other = (
    sources.make_source(config(source='text', path=str(tmp_path / f))).fingerprint
    for f in 'xy'
  )
  assert one == other
  (tmp_path / 'y' / 'a.txt').write_text('also')
  changed = sources.make_source(
    config(source='text', path=str(tmp_path / 'y'))
  ).fingerprint
  test = sources.make_source(
    config(source='text', path=str(tmp_path / 'x'), split='test')
  )
  assert changed != one and test.fingerprint != one


@pytest.mark.slow  # it parses the standard library
def test_python_docs_is_english_prose_split_without_overlap():
  made = {s: sources.make_source(config(source='python_docs', split=s)) for s in SPLITS}
  sizes = {s: sum(map(len, texts_of(source))) for s, source in made.items()}
  assert sum(sizes.values()) > 1_000_000  # about 2.3 million; varies by Python
  assert sizes['train'] > 10 * sizes['validation'] > 0
  seen = set(texts_of(made['train']))
  assert not seen & set(texts_of(made['validation']))


BAD = {
  'missing file': (dict(source='text', path='no/such.txt'), 'data.path.*no such file'),
  'no path': (dict(source='jsonl'), 'data.path is empty'),
  'empty file': (dict(source='text', path='{tmp}/empty.txt'), 'empty.txt is empty'),
  'wrong split': (
    dict(source='text', path='{tmp}/a.txt', split='trian'),
    "mean 'train'",
  ),
  'not UTF-8': (dict(source='text', path='{tmp}/latin.txt'), 'byte 2 is not UTF-8'),
  'bad gzip': (dict(source='text', path='{tmp}/bad.txt.gz'), 'not a readable gzip'),
  'not JSON': (dict(source='jsonl', path='{tmp}/bad.jsonl'), 'record 2.*not JSON'),
  'no field': (
    dict(source='jsonl', path='{tmp}/body.jsonl'),
    "no field 'text'; it has body",
  ),
  'not ArrayRecord': (dict(source='array_record', path='{tmp}/a.txt'), 'ArrayRecord'),
  'no name': (dict(source='tfds'), 'data.name is empty'),
  'unknown source': (dict(source='txt'), "data.source='txt'.*did you mean 'text'"),
}


@pytest.mark.parametrize('case', sorted(BAD))
def test_bad_data_is_refused_by_name(case, tmp_path):
  (tmp_path / 'a.txt').write_text('some text')
  (tmp_path / 'empty.txt').touch()
  (tmp_path / 'latin.txt').write_bytes(b'na\xefve text')
  (tmp_path / 'bad.txt.gz').write_bytes(b'not gzip')
  (tmp_path / 'bad.jsonl').write_text('{"text": "fine"}\n{"text": \n')
  (tmp_path / 'body.jsonl').write_text('{"body": "text"}\n')
  fields, message = BAD[case]
  fields = {'split': 'all', **fields} if fields['source'] != 'txt' else fields
  fields = {name: value.format(tmp=tmp_path) for name, value in fields.items()}
  with pytest.raises((DataError, ConfigError), match=message):
    texts(**fields)


def test_a_tfds_set_that_is_not_prepared_says_how_to_prepare_it(tmp_path):
  for name in ('lm1b', 'no_such_set', 'lm1b:9.9.9'):
    with pytest.raises(DataError, match='download_and_prepare') as caught:
      sources.make_source(config(source='tfds', name=name, data_dir=str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
  assert not list(tmp_path.iterdir())  # nothing was downloaded


@pytest.mark.shared
def test_tfds_gives_records_splits_and_slices(shared_tfds):
  here = dict(source='tfds', data_dir=str(shared_tfds))
  assert [len(text) for text in texts(**here, name='tiny_shakespeare')] == [1_003_854]
  web = sources.make_source(config(**here, name='c4_demo:1.0.0', split='train[:10%]'))
  assert len(web) == 27 and all(isinstance(web[i]['text'], str) for i in range(27))
  with pytest.raises(DataError, match='train, validation; give one of them or a slice'):
    sources.make_source(config(**here, name='c4_demo', split='test'))
  with pytest.raises(DataError, match='sentence'):
    sources.make_source(config(**here, name='sst2_small'))
  with pytest.raises(DataError, match="did you mean 'c4_demo'"):
    sources.make_source(config(**here, name='c4_dmo'))


@pytest.mark.shared
def test_a_text_file_is_split_where_tfds_splits_it(shared_data, shared_tfds):
  path = str(shared_data / 'tiny_shakespeare' / 'input.txt')
  for split in (*SPLITS, 'validation+test'):
    there = texts(
      source='tfds', name='tiny_shakespeare', data_dir=str(shared_tfds), split=split
    )
    here = texts(source='text', path=path, split=split)
    assert ''.join(here) == ''.join(there)  # TFDS has two documents of the last


def make_bare(data):
  return [{'text': 'a list is no source'}]


def test_a_plug_in_that_is_no_source_is_refused():
  with pytest.raises(ConfigError, match='returns a list; derive.*source.Source'):
    sources.make_source(config(source=f'{__name__}:make_bare'))


@pytest.fixture
def few_modules(monkeypatch):
  """Makes the Python library appear to have 20 modules."""
  modules = python_library._modules()[:20]
  docs = functools.cache(python_library._docs.__wrapped__)
  monkeypatch.setattr(python_library, '_modules', lambda: modules)
  monkeypatch.setattr(python_library, '_docs', docs)


@pytest.mark.parametrize('name', sorted(sources.SOURCES))
def test_every_source_has_the_interface_of_the_base_class(name, tmp_path, request):
  (tmp_path / 'a.txt').write_text('some text ' * 50)
  write_json_lines(tmp_path / 'a.jsonl', [{'text': 'some text ' * 50}])
  write_array_records(tmp_path / 'a.array_record', [b'some text ' * 50])
  fields = dict(source=name, path=str(tmp_path))
  if name == 'python_docs':  # parsing all modules takes seconds
    request.getfixturevalue('few_modules')
  if name == 'tfds':
    folder = request.getfixturevalue('shared_tfds')
    fields = dict(source=name, name='c4_demo', data_dir=str(folder))
  if name == 'prepared':
    text = {'data.source': 'text', 'data.path': str(tmp_path / 'a.txt')}
    corpora.prepared(tmp_path / 'out', text)
    fields['path'] = str(tmp_path / 'out')
  made = sources.make_source(config(**fields))
  first = made[0]
  assert len(made) > 0
  if 'tokens' in first:
    assert first['tokens'].dtype == np.int32 and made.entropy >= 0
    assert 0 <= first['tokens'].min() <= first['tokens'].max() < made.vocab_size
  else:
    assert isinstance(first['text'], str) and first['text']
  assert made.fingerprint == sources.make_source(config(**fields)).fingerprint
  assert all(isinstance(v, (str, int, float)) for v in made.fingerprint.values())
  assert made.fingerprint['source'] == name and made.fingerprint['split'] == 'train'


def test_split_bounds_cover_the_unit_interval():
  bounds = [splits.BOUNDS[split] for split in SPLITS]
  assert bounds[0][0] == 0 and bounds[-1][1] == 1
  assert all(a[1] == b[0] for a, b in zip(bounds, bounds[1:], strict=False))


def test_config_is_not_changed_by_a_source(tmp_path):
  (tmp_path / 'a.txt').write_text('text')
  data = config(source='text', path=str(tmp_path))
  before = dataclasses.asdict(data)
  sources.make_source(data)
  assert dataclasses.asdict(data) == before
