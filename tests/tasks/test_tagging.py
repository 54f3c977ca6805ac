"""Tags of words: where labels stand, what windows answer, scores, a tiny run."""

import numpy as np
import pytest

from gpt_jax.config.files import load_file
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples import splits
from gpt_jax.examples.record import Record
from gpt_jax.program import setup, task_data
from gpt_jax.tasks import make_task
from gpt_jax.tasks.tagging import entities
from tests.tasks import tiny_tasks
from tests.tasks.wordpieces import wordpiece

LABELS = ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
WORDS = ['ada', 'went', 'to', 'new', 'york']
TAGS = ['B-PER', 'O', 'O', 'B-LOC', 'I-LOC']


def sentence(words=WORDS, tags=TAGS):
  values = {'words': list(words)} | ({'tags': list(tags)} if tags else {})
  return Record(values, 'ner.txt, line 3')


def task_of(overrides=None):
  return tiny_tasks.task_of('ner', 'token_labels', LABELS, overrides)


def encoded(task, tokenizer, record):
  encoder = tiny_tasks.encoder_of(task, tokenizer)
  return task.encode(record, encoder, True), encoder.counts


def perfect(rows, task, record):
  """Returns outputs that are right wherever a word is answered for, else wrong."""
  gold, outputs = task.gold(record), []
  for row in rows:
    scores = np.zeros((len(row.tokens) + 3, len(LABELS)))  # a bucket is longer
    scores[:, 4] = 1
    for place in np.flatnonzero(row.note.words >= 0):
      scores[place, LABELS.index(gold[row.note.words[place]])] = 2
    outputs.append({'outputs': scores})
  return outputs


def test_a_text_is_cut_into_words_or_characters():
  task = tiny_tasks.task_of('ner', 'token_labels', ('O', 'B-X', 'I-X'))
  words = task.values_of("Ada's well-known aunt, of Rome.")['words']
  assert words == ["Ada's", 'well-known', 'aunt', ',', 'of', 'Rome', '.']
  assert task.values_of('他 在北京。')['words'] == ['他', '在', '北', '京', '。']


@pytest.mark.parametrize(
  'tag, message',
  [
    ('B_PER', "line 6: the tag of word 3, 'york', is 'B_PER': expected O, or one"),
    ('E-PER', "line 6: the tag of word 3, 'york', is 'E-PER' after 'O': a sequence"),
    ('B-ORG', "line 6: the tag of 'york' is 'B-ORG' in IOB2: expected one of O"),
  ],
)
def test_a_wrong_tag_is_named_by_the_line_of_its_word(tmp_path, tag, message):
  path = tmp_path / 'ner.txt'
  path.write_text(f'a O\nb O\n\nto O\nnew O\nyork {tag}\n')
  task = task_of()
  *_, last = splits.read([str(path)], 'conll', {})
  with pytest.raises(DataError, match=f'ner.txt, {message}'):
    task.check(last)
    encoded(task, ByteTokenizer(), last)


def test_a_label_stands_at_the_first_piece_of_its_word():
  tokenizer = wordpiece('ad', '##a', 'went', 'to', 'new', 'york')
  task = task_of({'data.begin_token': '[CLS]'})
  ((row,), _) = encoded(task, tokenizer, sentence())
  shown = [
    (tokenizer.piece(token), LABELS[label] if label >= 0 else None)
    for token, label in zip(row.tokens, row.fields['labels'], strict=True)
  ]
  assert shown == [
    ('[CLS]', None), ('ad', 'B-PER'), ('##a', None), ('went', 'O'), ('to', 'O'),
    ('new', 'B-LOC'), ('york', 'I-LOC'), ('[SEP]', None),
  ]  # fmt: skip


@pytest.mark.parametrize(
  'piece, read', [('first', ['a', ' ', ' ', ' ', ' ']), ('last', list('atowk'))]
)
def test_bytes_of_a_word_have_one_label(piece, read):
  task = task_of({'task.options.labelled_piece': piece})
  words = ['ada', 'went', 'to', 'now', 'york'] if piece == 'last' else WORDS
  ((row,), _) = encoded(task, ByteTokenizer(), sentence(words))
  labels = row.fields['labels']
  places = np.flatnonzero(labels >= 0)
  found = [chr(token) for token in row.tokens[places]]
  assert found == (['a', 't', 'o', 'w', 'k'] if piece == 'last' else read)
  assert [LABELS[label] for label in labels[places]] == TAGS


def test_a_word_of_no_piece_keeps_its_tag():
  tokenizer = wordpiece('york')
  record = sentence(['\u200b', 'york', '\u200b'], ['B-PER', 'O', 'B-LOC'])
  task = task_of()
  (rows, counts) = encoded(task, tokenizer, record)
  assert [tokenizer.piece(i) for i in rows[0].tokens] == [
    '[UNK]', 'york', '[UNK]', '[SEP]',
  ]  # fmt: skip
  found = task.decode(record, rows, perfect(rows, task, record))
  assert found['tags'] == ['B-PER', 'O', 'B-LOC']
  assert counts.unread_words == 0


def test_tags_of_other_schemes_become_iob2():
  task = task_of()
  record = sentence('a b c d'.split(), ['B-PER', 'M-PER', 'E-PER', 'S-LOC'])
  assert task.gold(record) == ['B-PER', 'I-PER', 'I-PER', 'B-LOC']
  iob1 = sentence('a b'.split(), ['I-PER', 'I-LOC'])
  assert task.gold(iob1) == ['B-PER', 'B-LOC']


def test_labels_are_o_then_both_tags_of_each_type():
  task = task_of()
  only_begins = [sentence(['x', 'y'], ['B-PER', 'O']), sentence(['x'], ['S-LOC'])]
  assert task.labels_of(only_begins) == LABELS
  assert task.labels_of([sentence(['x', 'y'], ['B', 'E'])]) == ('O', 'B', 'I')


def test_predictions_are_valid_tags_with_entities():
  task, record = task_of(), sentence()
  (rows, _) = encoded(task, ByteTokenizer(), record)
  assert task.decode(record, rows, perfect(rows, task, record)) == {
    'tags': TAGS,
    'entities': [
      {'type': 'PER', 'start': 0, 'end': 1, 'text': 'ada'},
      {'type': 'LOC', 'start': 3, 'end': 5, 'text': 'new york'},
    ],
  }
  stray = [{'outputs': np.eye(len(LABELS))[[4] * 32]}]  # I-PER everywhere
  assert task.decode(record, rows, stray)['tags'] == ['B-PER'] + ['I-PER'] * 4


def test_entities_of_chinese_have_no_spaces():
  assert entities(['吴', '重', '阳'], ['B-N', 'I-N', 'O']) == [
    {'type': 'N', 'start': 0, 'end': 2, 'text': '吴重'}
  ]


@pytest.mark.parametrize('too_long', ['truncate', 'truncate_left'])
def test_words_that_are_cut_off_are_o_and_counted(too_long):
  task, record = task_of({'data.seq_len': 12, 'task.too_long': too_long}), sentence()
  rows, counts = encoded(task, ByteTokenizer(), record)
  found = task.decode(record, rows, perfect(rows, task, record))
  # 11 of 20 bytes: "ada went to", or "o new york" without the space of "to".
  kept = range(3) if too_long == 'truncate' else range(3, 5)
  assert found['tags'] == [tag if i in kept else 'O' for i, tag in enumerate(TAGS)]
  assert counts.truncated == 1 and counts.unread_words == 5 - len(kept)
  assert f'{5 - len(kept)} words are not read' in counts.describe(12)


def test_a_word_in_two_windows_is_read_in_its_middle():
  words = list('abcdefghijklmnop')
  record = sentence(words, ['O'] * len(words))
  overrides = {
    'data.seq_len': 9, 'task.too_long': 'window', 'task.window_stride': 4,
    'data.append_eos': False,
  }  # fmt: skip
  task = task_of(overrides)
  rows, counts = encoded(task, ByteTokenizer(), record)
  assert len(rows) > 3 and counts.windowed == 1 and counts.unread_words == 0
  # Each window says its own number, as a label: so it is seen which one answered.
  outputs = [
    {'outputs': np.eye(len(LABELS))[[min(i, 4)] * 16]} for i in range(len(rows))
  ]
  task.label_names = tuple(f'B-{i}' for i in range(len(LABELS)))
  answered = [int(tag[2:]) for tag in task.decode(record, rows, outputs)['tags']]
  for word, window in enumerate(answered):
    context = {}
    for i, row in enumerate(rows):
      for place in np.flatnonzero(row.note.words == word):
        left = place if i else 99  # the text begins there: nothing is cut
        right = len(row.tokens) - 1 - place if i + 1 < len(rows) else 99
        context[min(i, 4)] = max(min(left, right), context.get(min(i, 4), 0))
    assert context[window] == max(context.values())
  assert sorted(set(answered)) == answered[:1] + sorted(set(answered) - {0})


def test_a_dropped_sentence_makes_no_row():
  task = task_of({'data.seq_len': 12, 'task.too_long': 'drop'})
  rows, counts = encoded(task, ByteTokenizer(), sentence())
  assert rows == [] and counts.dropped == 1 and counts.unread_words == 0


@pytest.mark.parametrize(
  'record, message',
  [
    (sentence('a b', None), "line 3: words=.*expected a list of texts"),
    (sentence(['a', '']), 'line 3: words: one is empty'),
    (sentence(['a'], ['O', 'O']), 'line 3: 1 words and 2 tags'),
    (sentence(['a'], ['X-PER']), "line 3: the tag of word 1, 'a', is 'X-PER'"),
  ],
)  # fmt: skip
def test_bad_sentences_are_named(record, message):
  if record.values['words'] == list('a b'):
    record = Record({'words': 'a b'}, record.place)
  with pytest.raises(DataError, match=message):
    task_of().check(record)


def test_unknown_tags_and_names_are_named():
  with pytest.raises(DataError, match="the tag of 'a' is 'B-ORG'.*expected one of O"):
    encoded(task_of(), ByteTokenizer(), sentence(['a'], ['B-ORG']))
  with pytest.raises(ConfigError, match="label_names: 'PER'"):
    tiny_tasks.task_of('ner', 'token_labels', ('O', 'PER'))


@pytest.mark.shared
@pytest.mark.extra
@pytest.mark.parametrize('recipe', ['conll2003', 'resume_ner'])
def test_right_labels_of_real_rows_score_one(recipe, shared_data):
  pytest.importorskip('seqeval', reason='scores of entities need seqeval')
  overrides = {
    'init_from': '', 'init.model': 'own', 'tokenizer.name': 'byte',
    'data.data_dir': str(shared_data), 'data.seq_len': 96,
  }  # fmt: skip
  settings = setup.resolve(load_file(f'configs/finetune.py:{recipe}'), overrides)
  settings = task_data.complete(settings)
  task, records = make_task(settings), task_data.records_of(settings, 'validation')
  encoder = tiny_tasks.encoder_of(task, ByteTokenizer())
  found = []
  for record in records:
    rows = task.encode(record, encoder, False)
    outputs = [{'outputs': np.eye(task.num_outputs)[row.fields['labels']]}
               for row in rows]  # fmt: skip
    found.append(task.decode(record, rows, outputs))
  assert encoder.counts.windowed > 100 and encoder.counts.unread_words == 0
  assert task.score(records, found).metrics['f1'] == 1.0


@pytest.mark.extra
def test_scores_are_those_of_seqeval():
  package = pytest.importorskip('seqeval.metrics', reason='needs seqeval')
  task = task_of()
  records = [sentence(), sentence(['a', 'b'], ['B-PER', 'I-PER'])]
  predicted = [['B-PER', 'O', 'O', 'B-LOC', 'O'], ['B-PER', 'I-PER']]
  scores = task.score(records, [{'tags': tags} for tags in predicted])
  gold = [task.gold(record) for record in records]
  assert scores.metrics['f1'] == pytest.approx(package.f1_score(gold, predicted))
  assert scores.metrics['f1'] == pytest.approx(2 / 3)
  (tagged,) = task.baselines(records, records).values()
  assert [one['tags'] for one in tagged] == gold


@pytest.mark.extra
@pytest.mark.slow
def test_a_tiny_model_finds_entities(tmp_path):
  pytest.importorskip('seqeval', reason='scores of entities need seqeval')
  rng = np.random.default_rng(0)

  def examples(count):
    for _ in range(count):
      words = rng.choice(['Ann', 'Bob', 'x', 'y', 'z'], 4).tolist()
      tags = ['B-PER' if word[0].isupper() else 'O' for word in words]
      tags = [
        'I-PER' if tag == 'B-PER' and i and tags[i - 1] != 'O' else tag
        for i, tag in enumerate(tags)
      ]
      yield {'words': words, 'tags': tags}

  files = {
    split: tiny_tasks.write_jsonl(tmp_path / f'{split}.jsonl', examples(count))
    for split, count in (('train', 64), ('validation', 8), ('test', 16))
  }
  overrides = {
    'task.files': files,
    'task.too_long': 'window',
    'task.window_stride': 6,
    'data.seq_len': 12,
    'train.steps': 300,
    'eval.every_steps': 300,
    'checkpoint.every_steps': 300,
  }
  settings = tiny_tasks.config('ner', 'token_labels', overrides)
  metrics, lines = tiny_tasks.train(settings, tmp_path / 'run')
  assert metrics['test']['f1'] > 0.8
  task = make_task(settings)
  gold = [line['answer'] for line in lines]
  found = [line['prediction'] for line in lines]
  records = [sentence(['x'] * len(tags), tags) for tags in gold]
  assert task.score(records, found).metrics['f1'] == metrics['test']['f1']
