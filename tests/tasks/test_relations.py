"""Relations: markers around entities, windows that keep them, the streams read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.config.files import load_file
from gpt_jax.core.errors import DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.program import setup, task_data
from gpt_jax.tasks import make_task
from tests.tasks import tiny_tasks
from tests.tasks.wordpieces import wordpiece

LABELS = ('Cause-Effect(e1,e2)', 'Cause-Effect(e2,e1)', 'Other')


def relation(text, head, tail, label='Other'):
  """Returns the record of a text whose entities are these words in it."""
  spans = {
    field: (text.index(word), text.index(word) + len(word))
    for field, word in (('head', head), ('tail', tail))
  }
  return Record({'text': text, **spans, 'label': label}, 'relations.txt, line 5')


STORM = relation('The storm caused a flood.', 'storm', 'flood', LABELS[0])


def task_of(overrides=None):
  return tiny_tasks.task_of('relations', 'class_labels', LABELS, overrides)


def encoded(task, tokenizer, record):
  encoder = tiny_tasks.encoder_of(task, tokenizer)
  return task.encode(record, encoder, True), encoder.counts


def test_one_text_lacks_the_spans_of_entities():
  with pytest.raises(DataError, match='reads text, head, tail, .*--input=FILE'):
    task_of().values_of('The storm caused a flood.')


def test_entities_are_marked_in_the_text():
  task = task_of({'data.seq_len': 64})
  ((row,), _) = encoded(task, ByteTokenizer(), STORM)
  text = 'The $ storm $ caused a # flood # .'
  assert ByteTokenizer().decode(row.tokens) == text == task.describe(STORM)
  assert row.fields['labels'][-1] == 0 and row.fields['labels'].max() == 0
  read = np.flatnonzero(row.fields['read'])
  # Bytes have the space before a marker as its first piece.
  assert read.tolist() == [text.index(' $'), text.index(' #')]


def test_wordpiece_reads_the_opening_markers():
  tokenizer = wordpiece('the', 'storm', 'caused', 'a', 'flood', '.', '$', '#')
  ((row,), _) = encoded(task_of({'data.begin_token': '[CLS]'}), tokenizer, STORM)
  shown = [tokenizer.piece(i) for i in row.tokens]
  assert shown == '[CLS] the $ storm $ caused a # flood # . [SEP]'.split()
  assert np.flatnonzero(row.fields['read']).tolist() == [2, 7]


@pytest.mark.parametrize(
  'record, expected',
  [
    (relation('A flood after the storm', 'storm', 'flood'),
     'A # flood # after the $ storm $'),
    (relation('sea storm', 'sea storm', 'storm'), '$ sea # storm # $'),
    (relation('storm', 'storm', 'storm'), '$ # storm # $'),
    (relation('storms', 'storm', 's'), '$ # s # torm $ s'),
    (relation('storms floods', 'storm', 'flood'), '$ storm $ s # flood # s'),
  ],
)  # fmt: skip
def test_markers_stand_where_entities_do(record, expected):
  shown = task_of().describe(record)
  assert shown.count('$') == shown.count('#') == 2
  assert shown == expected


@pytest.mark.parametrize('gap', [0, 10, 200])
@pytest.mark.parametrize('around', [0, 100])
def test_markers_survive_what_is_too_long(gap, around):
  text = 'x ' * around + 'storm' + ' y' * gap + ' flood' + ' z' * around
  record = relation(text, 'storm', 'flood')
  ((row,), counts) = encoded(task_of({'data.seq_len': 48}), ByteTokenizer(), record)
  shown = ByteTokenizer().decode(row.tokens)
  assert len(row.tokens) <= 48 and row.fields['read'].sum() == 2
  assert '$ storm $' in shown and '# flood #' in shown
  assert counts.truncated == int(gap == 200 or around == 100)
  if gap < 200:  # what is between them is kept whole
    assert '$ storm $' + ' y' * gap + ' # flood #' in shown
  if counts.truncated:
    assert len(row.tokens) == 48


def test_dropped_texts_make_no_row():
  task = task_of({'task.too_long': 'drop', 'data.seq_len': 16})
  rows, counts = encoded(task, ByteTokenizer(), STORM)
  assert rows == [] and counts.dropped == 1


@pytest.mark.parametrize(
  'span', [None, (3, 3), (0, 99), (-1, 2), [1, 2, 3], 'storm', (0.0, 2.0)]
)
def test_spans_outside_of_the_text_are_named(span):
  record = Record(STORM.values | {'head': span}, STORM.place)
  with pytest.raises(DataError, match=r'line 5: head=.*expected \(start, end\)'):
    task_of().check(record)


class Stream:
  """A forward pass whose stream is the token id, and whose head is the identity."""

  def hidden(self, inputs_BT, *_):
    return inputs_BT[..., None].astype(jnp.float32), None

  def task_head(self, x):
    return x


def test_marked_pooling_reads_the_marked_tokens():
  options = {'objective.options.pooling': 'marked', 'data.seq_len': 8}
  settings = tiny_tasks.config('relations', 'class_labels', options)
  objective = objectives.make_objective(
    settings.objective, vocab=objectives.Vocab(size=50), seq_len=8
  )
  batch = dict(
    tokens=np.array([[5, 6, 7, 0, 8, 9, 3, 0, 0]], np.int32),
    labels=np.array([[-1, -1, -1, 1, -1, -1, -1, 0, -1]], np.int32),
    segments=np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0]], np.int32),
    read=np.array([[0, 1, 0, 0, 1, 0, 1, 0, 0]], np.int32),
  )
  example = objective(batch, jax.random.key(0))
  outputs = np.asarray(objective.outputs(Stream(), example))[0, :, 0]
  # Each text reads its own: 6; the mean of 8 and 3.
  np.testing.assert_allclose(outputs[example.weights_BT[0] > 0], [6, 5.5])
  del batch['read']
  with pytest.raises(DataError, match='pooling=marked: .*no field "read"'):
    objective(batch, jax.random.key(0))


def test_scores_are_the_official_ones():
  task = task_of()
  records = [STORM, relation('a b', 'a', 'b', LABELS[1]), relation('a b', 'a', 'b')]
  found = [{'label': LABELS[0]}, {'label': LABELS[0]}, {'label': 'Other'}]
  metrics = task.score(records, found).metrics
  # Cause-Effect: one of two predicted and one of two gold, the directions apart.
  assert metrics['macro_f1'] == pytest.approx(0.5)
  assert metrics['accuracy'] == pytest.approx(2 / 3)
  assert set(metrics) == set(task.metrics)


@pytest.mark.shared
def test_real_sentences_keep_both_entities(shared_data):
  settings = setup.resolve(
    load_file('configs/finetune.py:semeval'),
    {
      'init_from': '', 'init.model': 'own', 'tokenizer.name': 'byte',
      'data.data_dir': str(shared_data), 'data.seq_len': 96,
    },
  )  # fmt: skip
  task = make_task(settings)
  assert len(task.label_names) == 19
  assert len(task_data.records_of(settings, 'test')) == 2717
  records = task_data.records_of(settings, 'validation')
  assert len(records) == pytest.approx(0.15 * 8000, rel=0.08)
  encoder = tiny_tasks.encoder_of(task, ByteTokenizer())
  for record in records:
    (row,) = task.encode(record, encoder, False)
    shown = ByteTokenizer().decode(row.tokens)
    for marker, field in (('$', 'head'), ('#', 'tail')):
      start, end = record.values[field]
      assert f'{marker} {record.values["text"][start:end]} {marker}' in shown
    assert row.fields['read'].sum() == 2 and row.fields['labels'][-1] >= 0


@pytest.mark.extra
@pytest.mark.slow
def test_a_tiny_model_learns_a_relation(tmp_path):
  pytest.importorskip('sklearn', reason='baselines of classes need scikit-learn')
  rng = np.random.default_rng(0)

  def examples(count):
    for _ in range(count):
      a, b, c = rng.choice(list('uvxy'), 3)
      places = [(0, 1), (2, 3)]
      head, tail = places if rng.random() < 0.5 else places[::-1]
      order = 'e1,e2' if head < tail else 'e2,e1'
      label = f'Before-After({order})' if c in 'uv' else 'Other'
      text = f'{a} {b} {c}'
      yield {'text': text, 'head': head, 'tail': tail, 'label': label}

  files = {
    'train+validation': tiny_tasks.write_jsonl(tmp_path / 'train.jsonl', examples(200)),
    'test': tiny_tasks.write_jsonl(tmp_path / 'test.jsonl', examples(24)),
  }
  overrides = {
    'task.files': files,
    'data.seq_len': 16,
    'objective.options.pooling': 'marked',
    'train.steps': 200,
    'eval.every_steps': 200,
    'checkpoint.every_steps': 200,
  }
  settings = tiny_tasks.config('relations', 'class_labels', overrides)
  metrics, lines = tiny_tasks.train(settings, tmp_path / 'run')
  assert metrics['test']['macro_f1'] > 0.8
  hits = [line['answer'] == line['prediction']['label'] for line in lines]
  assert np.mean(hits) == pytest.approx(metrics['test']['accuracy'])
