"""Classes by a language model: what bears loss, shots, likelihoods, a tiny run."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.evaluation.class_scores import class_scores
from gpt_jax.examples.record import Record
from gpt_jax.inference.scoring import Score
from gpt_jax.tasks import make_task, verbalizer
from gpt_jax.tasks.encoding import Counts
from tests.tasks import tiny_tasks

NAME = 'prompt_classification'


def review(text='A joy.', label='1'):
  values = {'text': text} | ({} if label is None else {'label': label})
  return Record(values, 'dev.tsv, line 4')


def config(overrides=None):
  causal = {'data.seq_len': 128, 'task.options.template': 'sentiment-en'}
  settings = tiny_tasks.SMALL | causal
  del settings['objective.options.attention']
  files = {'task.files': {'train': 'none.jsonl'}}
  picks = {'task.name': NAME, 'objective.name': 'causal_lm'}
  return tiny_tasks.tiny_runs.tiny_config(settings | files | picks | (overrides or {}))


def task_of(overrides=None):
  return make_task(config(overrides))


def encoded(task, record):
  encoder = tiny_tasks.encoder_of(task, ByteTokenizer())
  return task.encode(record, encoder, True), encoder.counts


def test_the_word_of_the_label_alone_bears_loss():
  ((row,), _) = encoded(task_of(), review())
  assert ByteTokenizer().decode(row.tokens) == (
    'Review: A joy.\nSentiment (positive or negative): positive'
  )
  learned = row.tokens[row.fields['loss_mask'] == 1]
  assert ByteTokenizer().decode(learned) == ' positive'


def test_one_text_fills_a_template_of_one_field():
  assert task_of().values_of('A joy.') == {'text': 'A joy.'}
  task = task_of({'task.options.template': '{title}: {text}\nLabel:'})
  with pytest.raises(DataError, match='reads title, text, .*--input=FILE'):
    task.values_of('A joy.')


def test_words_and_template_can_be_ones_own():
  options = {
    'task.options.template': '{text} It was',
    'task.options.verbalizers': ('1=great', '0=bad', '0=terrible'),
  }
  task = task_of(options)
  assert task.label_names == ('1', '0')
  ((row,), _) = encoded(task, review('Dull.', '0'))
  assert ByteTokenizer().decode(row.tokens) == 'Dull. It was bad'


def test_without_words_labels_are_written_themselves():
  options = {'task.options.template': '{text}\nLabel:'}
  assert task_of(options).labels_of([review(label='b'), review(label='a')]) == (
    'a', 'b',
  )  # fmt: skip
  task = task_of(options | {'task.label_names': ('0', '1')})
  ((row,), _) = encoded(task, review())
  assert ByteTokenizer().decode(row.tokens).endswith('\nLabel: 1')


class Generator:
  """A generator to which each continuation has the likelihood that a table says."""

  tokenizer = ByteTokenizer()

  def __init__(self, table):
    self.table, self.asked = table, []

  def score_many(self, items, truncate):
    self.asked += items
    return [
      [Score(np.log(self.table[text]), 1, False) for text in texts]
      for _, texts in items
    ]


def test_a_label_is_as_likely_as_its_words_together():
  table = {' negative': 0.3, ' bad': 0.05, ' positive': 0.2, ' good': 0.25}
  generator = Generator(table)
  (found,) = task_of().answer(generator, [review()])
  assert found['label'] == 'positive'
  assert found['probabilities'] == pytest.approx(
    {'negative': 0.35 / 0.8, 'positive': 0.45 / 0.8}
  )
  assert generator.asked[0][0].endswith('Sentiment (positive or negative):')


def test_calibration_divides_by_a_prompt_without_content():
  class Biased(Generator):
    def score_many(self, items, truncate):
      self.asked += items
      # "Yes" is likely whatever is asked, and the likelier after a joy.
      yes = [0.8 if 'N/A' in prompt else 0.9 for prompt, _ in items]
      return [[Score(np.log(1 - p), 1, False), Score(np.log(p), 1, True)] for p in yes]

  options = {'task.options.verbalizers': ('0=no', '1=yes')}
  records = [review(), review('Dull.')]
  plain = task_of(options).answer(Biased({}), records)
  assert [one['probabilities']['1'] for one in plain] == pytest.approx([0.9, 0.9])
  generator = Biased({})
  found = task_of(options | {'task.options.calibrate': True}).answer(generator, records)
  expected = (0.9 / 0.8) / (0.9 / 0.8 + 0.1 / 0.2)
  assert found[0]['probabilities']['1'] == pytest.approx(expected)
  assert ['N/A' in prompt for prompt, _ in generator.asked] == [False, False, True]


def test_shots_come_from_the_training_split(tmp_path):
  examples = [{'text': f'text {i}', 'label': str(i % 2)} for i in range(8)]
  path = tiny_tasks.write_jsonl(tmp_path / 'train.jsonl', examples)
  overrides = {'task.files': {'train': path}, 'task.options.shots': 2}
  overrides['data.seq_len'] = 256
  prompts = []
  for seed in (0, 0, 1):
    task = task_of(overrides | {'task.options.shots_seed': seed})
    generator = Generator(dict.fromkeys(
      (' negative', ' bad', ' positive', ' good'), 0.25))  # fmt: skip
    task.answer(generator, [review('new', None)])
    prompts.append(generator.asked[0][0])
  assert prompts[0] == prompts[1] != prompts[2]
  first, second, last = prompts[0].split('\n\n')
  assert last == 'Review: new\nSentiment (positive or negative):'
  ends = {text.rsplit(' ', 1)[1] for text in (first, second)}
  assert ends == {'positive', 'negative'}  # one of each
  # A training example is never its own shot.
  ((row,), _) = encoded(task_of(overrides), Record(examples[3], 'x'))
  assert ByteTokenizer().decode(row.tokens).count('text 3') == 1


@pytest.mark.parametrize(
  ('last', 'message'),
  [
    ({'text': 'c'}, r"train.jsonl, line 3: has no 'label', which"),
    ({'text': 'c', 'label': '7'}, r"train.jsonl, line 3: label='7': expected one of"),
    ({'sentence': 'c', 'label': '1'}, r"train.jsonl, line 3: has no 'text', which"),
  ],
)
def test_shots_are_checked_as_other_examples_are(tmp_path, last, message):
  examples = [{'text': 'a', 'label': '0'}, {'text': 'b', 'label': '1'}, last]
  path = tiny_tasks.write_jsonl(tmp_path / 'train.jsonl', examples)
  overrides = {'task.files': {'train': path}, 'task.options.shots': 2}
  with pytest.raises(DataError, match=message):
    encoded(task_of(overrides), review())


def test_what_is_too_long_loses_shots_then_text(tmp_path):
  examples = [{'text': f'text {i}', 'label': str(i % 2)} for i in range(8)]
  path = tiny_tasks.write_jsonl(tmp_path / 'train.jsonl', examples)
  overrides = {'task.files': {'train': path}, 'task.options.shots': 2}
  task = task_of(overrides | {'data.seq_len': 128})
  ((row,), counts) = encoded(task, review('abc'))
  assert ByteTokenizer().decode(row.tokens).count('Review:') == 2
  assert counts.truncated == 0
  for how, kept in (('truncate', 'a' * 13), ('truncate_left', 'a' * 12 + 'b')):
    task = task_of({'data.seq_len': 64, 'task.too_long': how})
    ((row,), counts) = encoded(task, review('a' * 99 + 'b'))
    text = ByteTokenizer().decode(row.tokens)
    assert text == f'Review: {kept}\nSentiment (positive or negative): positive'
    assert len(row.tokens) == 64 and counts.truncated == 1
  task = task_of({'data.seq_len': 64, 'task.too_long': 'drop'})
  assert encoded(task, review('a' * 99))[0] == []


@pytest.mark.parametrize('calibrate', [False, True])
@pytest.mark.parametrize('too_long', ['truncate', 'drop'])
def test_long_prompts_are_counted_and_dropped_ones_wrong(too_long, calibrate):
  settings = {'data.seq_len': 64, 'task.too_long': too_long}
  task = task_of(settings | {'task.options.calibrate': calibrate})
  words = (' negative', ' bad', ' positive', ' good')
  records = [review('a' * 99), review(), review('a' * 99)]
  counts = Counts()
  generator = Generator(dict.fromkeys(words, 0.25))
  found = task.answer(generator, records, counts=counts)
  assert counts.examples == 3 and found[1]['probabilities']['positive'] > 0
  if too_long == 'truncate':
    assert (counts.truncated, counts.dropped) == (2, 0) and None not in found
    return
  assert (counts.truncated, counts.dropped) == (0, 2)
  assert found[0] is found[2] is None
  alone = task.answer(generator, records[:1])
  assert alone == [None]
  wrong = task.unanswered(records[0])
  assert wrong['label'] == 'negative'
  assert wrong['probabilities'] == {'negative': 0.5, 'positive': 0.5}
  assert task.score(records[:1], [wrong]).metrics['accuracy'] == 0


def test_mistakes_are_named():
  with pytest.raises(DataError, match="line 4: label='2': expected one of negative"):
    task_of().check(review(label='2'))
  with pytest.raises(ConfigError, match="verbalizers: 'good': expected LABEL=WORD"):
    task_of({'task.options.verbalizers': ('good',)})
  with pytest.raises(ConfigError, match="did you mean 'sentiment-en'"):
    task_of({'task.options.template': 'sentiment-eng'})
  with pytest.raises(ConfigError, match="task.too_long='window': a prompt is read as"):
    config({'task.too_long': 'window'})
  with pytest.raises(ConfigError, match='leaves no token for a text'):
    encoded(task_of({'data.seq_len': 40}), review())


@pytest.mark.extra
@pytest.mark.slow
def test_a_tiny_language_model_learns_the_words(tmp_path):
  pytest.importorskip('sklearn', reason='scores of classes need scikit-learn')
  rng = np.random.default_rng(0)

  def examples(count):
    for _ in range(count):
      text = ''.join(rng.choice(list('xyz'), 3))
      yield {'text': text, 'label': str(int('x' in text))}

  files = {
    split: tiny_tasks.write_jsonl(tmp_path / f'{split}.jsonl', examples(count))
    for split, count in (('train', 64), ('validation', 8), ('test', 16))
  }
  settings = config({
    'task.files': files,
    'task.options.template': '{text}:',
    'task.options.verbalizers': ('0=n', '1=y'),
    'data.seq_len': 16,
    'train.steps': 150,
    'eval.every_steps': 150,
    'checkpoint.every_steps': 150,
  })  # fmt: skip
  metrics, lines = tiny_tasks.train(settings, tmp_path / 'run')
  assert metrics['test']['accuracy'] > 0.8
  gold = [line['answer'] for line in lines]
  found = [line['prediction']['label'] for line in lines]
  scores = class_scores(gold, found, ('0', '1'))
  assert scores.metrics['macro_f1'] == pytest.approx(metrics['test']['macro_f1'])


def test_the_label_may_not_stand_in_the_prompt():
  with pytest.raises(ConfigError, match=r'\{label\} in the prompt gives the answer'):
    task_of({'task.options.template': '{text} {label}'})


def test_a_row_is_never_longer_than_the_model_reads(monkeypatch):
  def longer(tokenizer, prompt, target):  # as of a tokenizer with seams
    return np.append(tokenizer.encode(prompt), 32), tokenizer.encode(target)

  monkeypatch.setattr(verbalizer, 'encode_pair', longer)
  task = task_of({'data.seq_len': 64})
  ((row,), counts) = encoded(task, review('a' * 99))
  assert len(row.tokens) == 64 and counts.truncated == 1
  assert ByteTokenizer().decode(row.tokens).endswith('  positive')
  task = task_of({'data.seq_len': 64, 'task.too_long': 'drop'})
  rows, counts = encoded(task, review('a' * 13))  # fits but for the seam
  assert rows == [] and counts.dropped == 1
