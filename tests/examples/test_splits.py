"""Splits from files of their own, and by a hash from one set."""

import json

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.examples import splits

COLUMNS = {'text': '0', 'label': '1'}
ROWS = [(f'text {i % 1500}', str(i % 2)) for i in range(2000)]  # 500 copies


@pytest.fixture
def load(tmp_path, write):
  write('all.tsv', ''.join(f'{text}\t{label}\n' for text, label in ROWS))
  write('train.tsv', 'a\t0\nb\t1\n')
  write('more.tsv', 'c\t0\n')

  def load(files, split, columns=COLUMNS, reader='auto', **options):
    here = {'data_dir': str(tmp_path)} | options
    found = splits.load(files, reader, columns, split, **here)
    return [tuple(record.values.values()) for record in found]

  return load


def test_files_of_a_split_are_read_in_order(load):
  files = {'train': ['train.tsv', 'more.tsv'], 'test': 'more.tsv'}
  assert load(files, 'train') == [('a', '0'), ('b', '1'), ('c', '0')]
  assert load(files, 'test') == [('c', '0')]


def test_a_hash_divides_70_15_15_without_copies_across(load):
  parts = {split: load({'all': 'all.tsv'}, split) for split in splits.BOUNDS}
  assert sorted(sum(parts.values(), [])) == sorted(ROWS)
  assert load({'all': 'all.tsv'}, 'all') == ROWS
  texts = {split: {text for text, _ in rows} for split, rows in parts.items()}
  assert not texts['train'] & (texts['validation'] | texts['test'])
  assert not texts['validation'] & texts['test']
  shares = [len(texts[split]) / 1500 for split in splits.BOUNDS]
  # Three standard deviations of 1500 independent draws.
  assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.036)
  # The label does not decide: other labels, same texts in each split.
  swapped = {'text': '0', 'label': '0'}
  assert {text for text, _ in load({'all': 'all.tsv'}, 'test', swapped)} == texts[
    'test'
  ]


def test_copies_in_another_case_or_spacing_stay_together(load, write):
  words = [f'Word {i}' for i in range(60)]
  write('cases.tsv', ''.join(f'{w}\t0\n{w.upper()}\t1\n {w}  \t2\n' for w in words))
  for split in splits.BOUNDS:
    labels = [label for _, label in load({'all': 'cases.tsv'}, split)]
    assert labels and labels == ['0', '1', '2'] * (len(labels) // 3)


def test_a_larger_limit_keeps_what_a_smaller_one_has(load):
  few = load({'all': 'all.tsv'}, 'train', limit=50)
  more = load({'all': 'all.tsv'}, 'train', limit=200)
  whole = load({'all': 'all.tsv'}, 'train')
  assert len(few) == 50 and len(more) == 200
  rest = iter(more)
  assert all(row in rest for row in few)  # in the order of the file
  assert few != whole[:50] and load({'all': 'all.tsv'}, 'train', limit=10**6) == whole


def test_columns_rename_and_gather(load, write):
  write('a.jsonl', [{'q': 'x', 'one': 'a', 'two': 'b', 'answer': 0}])
  columns = {'prompt': 'q', 'choices': ['one', 'two'], 'label': 'answer'}
  assert load({'test': 'a.jsonl'}, 'test', columns) == [('x', ['a', 'b'], 0)]
  columns = {'source': '0', 'targets': '1'}
  assert load({'test': 'more.tsv'}, 'test', columns) == [('c', ['0'])]


@pytest.mark.parametrize(
  'files, split, message',
  [
    ({'train': 'train.tsv'}, 'test', "no files of the split 'test'; there are train"),
    ({'train': 'train.tsv'}, 'trian', "'trian' is no split; .*did you mean 'train'"),
    *(
      ({name: 'a'}, 'train', f"'{name}' is no split; .* did you mean 'validation'")
      for name in ('dev', 'val', 'valid', 'eval')
    ),
    ({'all': 'a', 'test': 'b'}, 'test', 'expected files for each split, or all alone'),
    ({'train': 'train.tsv'}, 'all', "no files of the split 'all'"),
  ],
)
def test_splits_that_are_not_there_are_named(load, files, split, message):
  with pytest.raises(ConfigError, match=message):
    load(files, split)


@pytest.mark.parametrize(
  'columns, reader, message',
  [
    ({'text': 'sentence'}, 'auto', 'The first line has it: set task.reader=tsv_header'),
    (
      {'text': 'text'},
      'auto',
      "text='text': .*there are '0', '1'. Columns are numbers",
    ),
    ({'text': 'sentense'}, 'tsv_header', "line 2 has no .*did you mean 'sentence'"),
  ],
)
def test_columns_that_are_not_there_are_named(load, write, columns, reader, message):
  write('head.tsv', 'sentence\tlabel\nx\t1\n')
  with pytest.raises(DataError, match=message):
    load({'test': 'head.tsv'}, 'test', columns, reader)


def test_empty_texts_and_empty_splits_are_errors(load, write):
  write('empty.tsv', 'x\t1\n \t0\n')
  with pytest.raises(DataError, match='empty.tsv, line 2: text is empty'):
    load({'test': 'empty.tsv'}, 'test')
  write('blank.tsv', '\n\n')
  with pytest.raises(DataError, match="blank.tsv: no examples of the split 'test'."):
    load({'test': 'blank.tsv'}, 'test')
  splits_of_one = []
  for split in splits.BOUNDS:
    try:
      load({'all': 'more.tsv'}, split)
    except DataError as error:
      assert 'none of 1 examples lies in it; give files for each split' in str(error)
      splits_of_one.append(split)
  assert len(splits_of_one) == 2
  with pytest.raises(ConfigError, match='none of the fields'):
    load({'all': 'more.tsv'}, 'test', {})


def test_time_divides_what_each_user_did(load, write):
  def row(user, time):
    values = {'user': user, 'timestamp': time, 'history': ['a'], 'candidate': 'b'}
    return json.dumps(values | {'label': 1})

  rows = [('many', time) for time in (9, 3, 3, 3, 1, 2, 5, 7, 8, 6)]
  rows += [('one', 4), ('at once', 1), ('at once', 1), ('at once', 1)]
  write('clicks.jsonl', '\n'.join(row(*pair) for pair in rows) + '\n')
  columns = {
    name: name for name in ('user', 'timestamp', 'history', 'candidate', 'label')
  }
  parts = {
    split: [values[:2] for values in load({'by_time': 'clicks.jsonl'}, split, columns)]
    for split in splits.BOUNDS
  }
  assert parts['train'] == [
    ('many', 3), ('many', 3), ('many', 3), ('many', 1), ('many', 2), ('many', 5),
    ('many', 6), ('one', 4),
  ]  # fmt: skip
  # Of one time there is no before and after.
  assert parts['validation'] == [('many', 7)] + [('at once', 1)] * 3
  assert parts['test'] == [('many', 9), ('many', 8)]
  whole = load({'by_time': 'clicks.jsonl'}, 'by_time', columns)
  assert [values[:2] for values in whole] == rows


def test_time_needs_a_user_and_a_number(load, write):
  write('a.jsonl', '{"text": "x", "user": 1}\n{"text": "y", "user": 1}\n')
  with pytest.raises(DataError, match="line 1: no 'timestamp'"):
    load({'by_time': 'a.jsonl'}, 'train', {})
  write('b.jsonl', '{"text": "x", "user": 1, "timestamp": "noon"}\n')
  with pytest.raises(DataError, match="line 1: timestamp='noon'; expected a number"):
    load({'by_time': 'b.jsonl'}, 'train', {})
  with pytest.raises(ConfigError, match='or by_time alone'):
    load({'by_time': 'a.jsonl', 'train': 'b.jsonl'}, 'train', {})
