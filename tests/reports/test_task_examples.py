"""Single predictions: worth, worst errors, confusions, scores by length."""

import json

import numpy as np
import pytest

from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.evaluation.scores import Scores
from gpt_jax.examples.record import Record
from gpt_jax.reports import task_examples
from gpt_jax.workdir.paths import Workdir


class Words:
  """A task of texts: the share of words of the answer that are in the prediction."""

  metrics, higher_is_better = ('recall',), True

  def describe(self, record):
    return record.values['text']

  def score(self, records, predictions):
    shares = []
    for record, one in zip(records, predictions, strict=True):
      wanted = record.values['answer'].split()
      shares.append(np.mean([word in one['text'].split() for word in wanted]))
    if not shares or 'never' in predictions[0]['text']:
      raise DataError('no score')
    return Scores({'recall': float(np.mean(shares))})


def line(text, answer, prediction):
  return dict(place=f'{text}.txt', input=text, answer=answer, prediction=prediction)


def labelled(text, answer, **probabilities):
  label = max(probabilities, key=probabilities.get)
  return line(text, answer, dict(label=label, probabilities=probabilities))


def make(lines, records=(), task=None):
  return task_examples.make_examples(lines, task or Words(), list(records), len)


LABELLED = make(
  [
    labelled('a', 'x', x=0.9, y=0.1),
    labelled('bb', 'y', x=0.6, y=0.4),
    labelled('cc', 'y', x=0.8, y=0.2),
    labelled('dddd', 'x', x=0.3, y=0.7),
    labelled('e', 'y', x=0.2, y=0.8),
  ]
)


def test_the_worst_labels_are_wrong_and_sure():
  assert [one.place for one in task_examples.worst(LABELLED)] == [
    'cc.txt', 'dddd.txt', 'bb.txt',
  ]  # fmt: skip
  assert len(task_examples.worst(LABELLED, 1)) == 1
  assert [one.said for one in LABELLED] == ['x', 'x', 'x', 'y', 'y']


def test_confusions_are_counted_the_most_frequent_first():
  assert task_examples.confusions(LABELLED) == [('y', 'x', 2), ('x', 'y', 1)]


def test_confidence_goes_with_what_is_right():
  confidence, is_right = task_examples.judged(LABELLED)
  assert confidence.tolist() == [0.9, 0.6, 0.8, 0.7, 0.8]
  assert is_right.tolist() == [True, False, False, False, True]
  assert task_examples.judged([])[0].shape == (0,)


def test_lengths_are_quartiles_and_equal_ones_stay_together():
  found = task_examples.by_length(LABELLED, Words())
  assert [row[:3] for row in found] == [(1, 1, 2), (2, 2, 2), (4, 4, 1)]
  assert [row[3]['accuracy'] for row in found] == [1.0, 0.0, 0.0]
  assert task_examples.by_length([], Words()) == []


TEXTS = [
  line('one', 'red fox', {'text': 'red hen'}),
  line('two', 'red fox', {'text': 'red fox'}),
  line('three', 'red fox', {'text': 'owl'}),
]
RECORDS = [
  Record({'text': one['input'], 'answer': one['answer']}, one['place']) for one in TEXTS
]


def test_texts_are_worth_their_score():
  examples = make(TEXTS, RECORDS)
  assert [one.worth for one in examples] == [0.5, 1.0, 0.0]
  assert [one.place for one in task_examples.worst(examples)] == [
    'three.txt', 'one.txt',
  ]  # fmt: skip
  found = task_examples.by_length(examples, Words())
  assert found[0] == (3, 3, 2, {'recall': 0.75})


def test_texts_without_their_records_have_no_worth():
  examples = make(TEXTS)
  assert {one.worth for one in examples} == {None}
  assert task_examples.worst(examples) == []
  assert task_examples.by_length(examples, Words())[0][3] == {}
  changed = [Record(one.values | {'text': 'other'}, one.place) for one in RECORDS]
  assert {one.record for one in make(TEXTS, changed)} == {None}


def test_what_no_single_score_judges_has_no_worth():
  lines = [line('one', 'red fox', {'text': 'never'})]
  (example,) = make(lines, RECORDS[:1])
  assert example.worth is None and example.record is not None
  assert task_examples.by_length([example], Words())[0][3] == {}


def test_lower_is_better_turns_worth_round():
  task = Words()
  task.higher_is_better = False
  assert [one.worth for one in make(TEXTS, RECORDS, task)] == [-0.5, -1.0, 0.0]


@pytest.mark.parametrize(
  'answer, prediction, worth',
  [
    (2.0, {'value': 2.5}, -0.5),
    ('3', {'value': 1.0}, -2.0),
    ('many', {'value': 1.0}, None),
    (1, {'score': 0.25}, -0.75),
    (1, {'label': 1, 'log_probs': [0.0]}, 1.0),
    ('chosen', {'preferred': 'rejected'}, 0.0),
    (['O', 'O'], {'tags': ['O', 'O']}, 1.0),
    (None, {'label': 'x'}, None),
  ],
)
def test_each_kind_of_prediction_has_its_worth(answer, prediction, worth):
  (example,) = make([line('t', answer, prediction)])
  assert example.worth == worth


def test_texts_beyond_the_bound_are_not_scored(monkeypatch):
  monkeypatch.setattr(task_examples, 'MAX_SCORED', 2)
  assert [one.worth for one in make(TEXTS, RECORDS)] == [0.5, None, 0.0]


def test_lines_are_read_and_a_broken_one_is_named(tmp_path):
  workdir = Workdir(tmp_path)
  assert task_examples.read_lines(workdir, 'test') == []
  assert task_examples.sets_in(workdir) == []
  workdir.predictions.mkdir()
  path = workdir.predictions / 'test.jsonl'
  path.write_text(json.dumps(TEXTS[0]) + '\n')
  assert task_examples.read_lines(workdir, 'test') == TEXTS[:1]
  assert task_examples.sets_in(workdir) == ['test']
  parted = TEXTS[0] | {'input': 'one\u2028two\x85three\x0cfour'}
  path.write_text(json.dumps(parted, ensure_ascii=False) + '\n', encoding='utf-8')
  assert task_examples.read_lines(workdir, 'test') == [parted]
  path.write_text('{}\nno json\n')
  with pytest.raises(StorageError, match='test.jsonl, line 2: no JSON'):
    task_examples.read_lines(workdir, 'test')
