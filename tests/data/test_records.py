"""Records with named fields: prompt, response and label, from files to documents."""

import json

import pytest

from configs import base
from gpt_jax import data as sources
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import records
from tests.data.test_sources import write_array_records

CHAT = dict(prompt_field='question', response_field='answer')


def config(**fields):
  named = {f'data.{name}': value for name, value in fields.items()}
  return load.resolve(base.get_config(), named).data


def write(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))


def open_source(path, **fields):
  fields = {'source': 'jsonl', 'path': str(path), 'split': 'all'} | fields
  return sources.make_source(config(**fields))


def test_prompt_and_response_come_from_their_fields(tmp_path):
  rows = [{'question': f'q{i}', 'answer': f'a{i}', 'x': 1} for i in range(3)]
  write(tmp_path / 'a.jsonl', rows)
  write_array_records(
    tmp_path / 'a.array_record', [json.dumps(row).encode() for row in rows]
  )
  for name in ('jsonl', 'array_record'):
    source = open_source(tmp_path, source=name, **CHAT)
    assert source.fields == ('loss_mask',) and source.num_labels is None
    assert [source[i] for i in range(3)] == [
      {'prompt': f'q{i}', 'response': f'a{i}'} for i in range(3)
    ]
    assert source.fingerprint['prompt_field'] == 'question'


def test_labels_are_numbers_or_declared_names(tmp_path):
  write(tmp_path / 'a.jsonl', [{'text': 'a', 'c': 2}, {'text': 'b', 'c': 0}])
  source = open_source(tmp_path, label_field='c', num_labels=3)
  assert [source[i]['label'] for i in range(2)] == [2, 0]
  assert (source.fields, source.num_labels) == (('labels',), 3)
  write(tmp_path / 'a.jsonl', [{'text': 'a', 'c': 'pos'}, {'text': 'b', 'c': 'neg'}])
  named = open_source(tmp_path, label_field='c', label_names=('neg', 'pos'))
  assert [named[i]['label'] for i in range(2)] == [1, 0] and named.num_labels == 2
  swapped = open_source(tmp_path, label_field='c', label_names=('pos', 'neg'))
  assert swapped.fingerprint != named.fingerprint


def test_plain_text_keeps_its_fingerprint(tmp_path):
  write(tmp_path / 'a.jsonl', [{'text': 'a'}])
  source = open_source(tmp_path)
  assert set(source.fingerprint) == {
    'source', 'split', 'files', 'bytes', 'content', 'text_field',
  }  # fmt: skip
  assert source.fields == ()


def test_records_are_split_whole_by_their_prompt(tmp_path):
  rows = [{'question': f'q{i % 30}', 'answer': f'a{i}'} for i in range(60)]
  write(tmp_path / 'a.jsonl', rows)
  parts = [
    open_source(tmp_path, split=split, **CHAT)
    for split in ('train', 'validation', 'test')
  ]
  found = [{part[i]['prompt'] for i in range(len(part))} for part in parts]
  assert sum(map(len, parts)) == 60 and sum(map(len, found)) == 30


BAD = {
  'no answer': ({'question': 'a'}, CHAT, "no field 'answer'; it has question.*data.r"),
  'number': ({'question': 'a', 'answer': 3}, CHAT, 'response_field=.* is int'),
  'high': ({'text': 'a', 'c': 3}, dict(num_labels=3), "field='c' is 3; .* 0 to 2"),
  'negative': ({'text': 'a', 'c': -1}, dict(num_labels=3), 'is -1; expected 0 to 2'),
  'true': ({'text': 'a', 'c': True}, dict(num_labels=3), 'is True; expected a whole'),
  'name': ({'text': 'a', 'c': 'x'}, dict(label_names=('y',)), r"'x'; .*one of.*\(y\)"),
  'none': ({'text': 'a', 'c': 'x'}, dict(num_labels=3), 'none are declared'),
}


@pytest.mark.parametrize('case', sorted(BAD))
def test_a_bad_record_is_named_with_its_field(case, tmp_path):
  row, given, message = BAD[case]
  label = {} if 'prompt_field' in given else dict(label_field='c')
  write(tmp_path / 'a.jsonl', [row])
  with pytest.raises(DataError, match=rf'a.jsonl \(record 1, .*{message}'):
    open_source(tmp_path, **given, **label)[0]
  spared = open_source(tmp_path, max_corrupt_records=1, **given, **label)
  assert spared[0] == {'text': ''} and list(spared.skipped) == [0]


def test_fields_that_do_not_go_together_are_refused(tmp_path):
  (tmp_path / 'a.txt').write_text('some text')
  for given, message in (
    (dict(prompt_field='q'), "data.prompt_field='q': needs data.response_field"),
    (dict(response_field='q'), 'needs data.prompt_field'),
    (dict(label_field='c'), "data.label_field='c': needs data.num_labels"),
    (dict(label_names=('a', 'a')), 'appears twice'),
    (dict(label_names=('a', 'b'), num_labels=3), 'data.num_labels=3'),
  ):
    (problem,) = records.problems(config(source='jsonl', **given))
    assert message in str(problem)
  with pytest.raises(ConfigError, match="'text' has no records with fields; use one"):
    open_source(tmp_path, source='text', **CHAT)


@pytest.mark.shared
def test_a_tfds_set_names_its_classes_by_itself(shared_tfds):
  data = dict(source='tfds', name='sst2_small', data_dir=str(shared_tfds))
  data |= dict(text_field='sentence', label_field='label', split='train')
  source = sources.make_source(config(**data))
  assert source.num_labels == 2 and source.fields == ('labels',)
  assert {source[i]['label'] for i in range(50)} == {0, 1}
