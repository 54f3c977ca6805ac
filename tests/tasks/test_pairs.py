"""Pairs of texts: one row of both, trained, scored and predicted."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from tests.tasks import tiny_tasks
from tests.tasks.wordpieces import wordpiece

LABELS = ('no', 'yes')


def pair(a, b, label='yes'):
  return Record({'text': a, 'text_b': b, 'label': label}, 'pairs.tsv, line 1')


def one_row(task, tokenizer, record):
  (row,) = task.encode(record, tiny_tasks.encoder_of(task, tokenizer), True)
  return row


def test_bert_reads_cls_a_sep_b_sep_with_types():
  tokenizer = wordpiece('rain', 'fall', '##s', 'wet')
  special = {'data.begin_token': '[CLS]'}
  task = tiny_tasks.task_of('pairs', 'class_labels', LABELS, special)
  row = one_row(task, tokenizer, pair('rain falls', 'wet'))
  pieces = [tokenizer.piece(i) for i in row.tokens]
  assert pieces == ['[CLS]', 'rain', 'fall', '##s', '[SEP]', 'wet', '[SEP]']
  assert row.fields['token_types'].tolist() == [0, 0, 0, 0, 0, 1, 1]
  assert row.fields['labels'].tolist() == [-1] * 6 + [1]


def test_other_models_read_a_line_end_between():
  task = tiny_tasks.task_of('pairs', 'class_labels', LABELS)
  tokenizer = ByteTokenizer()
  row = one_row(task, tokenizer, pair('ab', 'c', 'no'))
  assert tokenizer.decode(row.tokens[:-1]) == 'ab\nc'
  assert row.tokens[-1] == tokenizer.eos_id
  assert row.fields['labels'][-1] == 0


def test_the_longer_text_of_a_pair_is_cut_first():
  task = tiny_tasks.task_of('pairs', 'class_labels', LABELS, {'data.seq_len': 12})
  tokenizer = ByteTokenizer()
  row = one_row(task, tokenizer, pair('a' * 30, 'bcd'))
  assert tokenizer.decode(row.tokens) == 'a' * 7 + '\nbcd'


def test_a_pair_without_its_second_text_names_the_column():
  task = tiny_tasks.task_of('pairs', 'class_labels', LABELS)
  record = Record({'text': 'a', 'label': 'yes'}, 'pairs.tsv, line 7')
  with pytest.raises(DataError, match="line 7: has no 'text_b'.*task.columns"):
    task.check(record)
  with pytest.raises(DataError, match="line 1: label='yess'.*did you mean 'yes'"):
    one_row(task, ByteTokenizer(), pair('a', 'b', 'yess'))


@pytest.mark.extra
@pytest.mark.slow
def test_a_tiny_model_learns_which_pairs_are_equal(tmp_path):
  pytest.importorskip('sklearn', reason='scores of classes need scikit-learn')
  rng = np.random.default_rng(0)

  def examples(count):
    for _ in range(count):
      a, b = rng.choice(list('xyz'), 2)
      b = a if rng.random() < 0.5 else b
      yield {'text': a, 'text_b': b, 'label': 'same' if a == b else 'other'}

  files = {
    split: tiny_tasks.write_jsonl(tmp_path / f'{split}.jsonl', examples(count))
    for split, count in (('train', 64), ('validation', 8), ('test', 16))
  }
  overrides = {
    'task.files': files,
    'data.seq_len': 8,
    'objective.options.pooling': 'mean',
    'train.steps': 120,
    'eval.every_steps': 120,
    'checkpoint.every_steps': 120,
  }
  settings = tiny_tasks.config('pairs', 'class_labels', overrides)
  metrics, lines = tiny_tasks.train(settings, tmp_path / 'run')
  assert metrics['test']['accuracy'] > 0.8
  hits = [line['answer'] == line['prediction']['label'] for line in lines]
  assert np.mean(hits) == pytest.approx(metrics['test']['accuracy'])
