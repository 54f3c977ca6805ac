"""The data of a task in a report: labels, lengths, examples in two splits."""

import collections
import json

import pytest

from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.reports import task_splits
from gpt_jax.tasks import make_task
from gpt_jax.tasks.task import Task
from tests import task_runs, tiny_runs


@pytest.fixture
def config(tmp_path):
  settings = task_runs.settings(tmp_path)
  return tiny_runs.tiny_config(settings | {'task.label_names': task_runs.LABELS})


def test_all_sets_are_read_and_gone_data_are_a_problem(config, tmp_path):
  splits = task_splits.read(config)
  assert list(splits.records) == ['train', 'validation', 'test']
  assert [len(each) for each in splits.records.values()] == [160, 45, 60]
  (tmp_path / 'validation.jsonl').unlink()
  gone = task_splits.read(config)
  assert gone.records == {} and gone.train == []
  assert 'validation.jsonl' in gone.problem


def test_labels_are_counted_in_the_order_of_their_names(config, tmp_path):
  splits = task_splits.read(config)
  labels, counts = task_splits.label_counts(make_task(config), splits)
  assert labels == list(task_runs.LABELS)
  lines = (tmp_path / 'test.jsonl').read_text().splitlines()
  wanted = collections.Counter(json.loads(line)['label'] for line in lines)
  assert counts['test'] == wanted


class Tags(Task):
  name, inputs, metrics, has_labels = 'tags', ('words',), ('f1',), True
  target = 'tags'


def test_tags_are_counted_one_by_one(config):
  records = [Record({'words': ['a', 'b'], 'tags': ['O', 'B-X']}, 'a'),
             Record({'words': ['a'], 'tags': ['O']}, 'b')]  # fmt: skip
  splits = task_splits.Splits({'train': records})
  labels, counts = task_splits.label_counts(Tags(config), splits)
  assert labels == ['O', 'B-X'] and counts['train'] == {'O': 2, 'B-X': 1}


def test_tasks_without_labels_have_no_counts(config):
  task = Tags(config)
  task.has_labels = False
  splits = task_splits.Splits({'train': [Record({'tags': ['x']}, 'a')]})
  assert task_splits.label_counts(task, splits) == ([], {})


def test_what_is_too_long_is_counted_as_in_training(config):
  label = task_runs.LABELS[1]
  records = [
    Record({'text': 'x' * length, 'label': label}, str(length))
    for length in (9, 10, 199)
  ]
  text, mean = task_splits.too_long(config, make_task(config), ByteTokenizer(), records)
  assert text.startswith('1 truncated of 3 examples, which have more than 48 tokens')
  assert mean == pytest.approx((10 + 11 + 48) / 3)
  text, _ = task_splits.too_long(
    config, make_task(config), ByteTokenizer(), records[:2]
  )
  assert text == ''


def test_examples_in_two_splits_are_named():
  def records(split, *texts):
    return [Record({'text': text}, f'{split}, {text}') for text in texts]

  splits = task_splits.Splits(
    {
      'train': records('train', 'a', 'b'),
      'validation': records('validation', 'B', 'c'),
      'test': records('test', 'c', 'd'),
    }
  )
  first, second = task_splits.shared(splits)
  assert '1 of 2 examples is also in train' in first
  assert first.endswith('such as validation, B = train, b')
  assert second.startswith('test: 1 of 2') and 'also in validation' in second
