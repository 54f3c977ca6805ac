"""Choices by likelihood: what is scored and divided, the loss, a training."""

import pytest

import gpt_jax
from gpt_jax.core.errors import DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.inference.scoring import Score
from gpt_jax.tasks.encoding import Counts
from tests.tasks import small_tasks

RECORD = small_tasks.record(prompt='Is it red?', choices=['no', 'yes it is'], label='1')


def made(**options):
  named = {f'task.options.{name}': value for name, value in options.items()}
  return small_tasks.made('choice', 'causal_lm', named)


def test_only_the_right_choice_bears_loss():
  task, encoder = made(template='Q: {prompt}\nA:')
  (row,) = task.encode(RECORD, encoder, True)
  assert small_tasks.bearing_loss(row) == ' yes it is<end>'
  assert task.texts_of(RECORD) == ('Q: Is it red?\nA:', [' no', ' yes it is'])


def test_sentences_without_a_prompt_have_no_space_before_them():
  task, encoder = made()
  pair = small_tasks.record(prompt='', choices=['It is.', 'It are.'], label=0)
  task.check(pair)
  assert task.texts_of(pair) == ('', ['It is.', 'It are.'])
  (row,) = task.encode(pair, encoder, True)
  assert small_tasks.bearing_loss(row) == 'It is.<end>'


def test_one_text_has_no_choices():
  with pytest.raises(DataError, match='reads prompt, choices, .*--input=FILE'):
    made()[0].values_of('Is it red?')


class Scorer:
  """A generator with fixed log-likelihoods and numbers of tokens."""

  def __init__(self, *pairs):
    self._scores = [Score(log_prob, count, False) for log_prob, count in pairs]

  tokenizer = ByteTokenizer()

  def score_many(self, items, truncate, max_tokens):
    assert truncate and max_tokens == 64
    return [self._scores for _ in items]


@pytest.mark.parametrize(
  'length, lengths, label',
  [('byte', [2, 9], 1), ('token', [4, 4], 0), ('none', [1, 1], 0)],
)
def test_likelihoods_are_divided_by_length(length, lengths, label):
  task, _ = made(length=length)
  (found,) = task.answer(Scorer((-4.0, 4), (-6.0, 4)), [RECORD])
  assert found == dict(
    label=label, likeliest=0, log_probs=[-4.0, -6.0], lengths=lengths
  )
  metrics = task.score([RECORD], [found]).metrics
  assert metrics == dict(accuracy_norm=float(label == 1), accuracy=0.0)


@pytest.mark.parametrize('too_long', ['truncate', 'drop'])
def test_long_prompts_are_counted_and_dropped_ones_wrong(too_long):
  task, _ = small_tasks.made('choice', 'causal_lm', {'task.too_long': too_long})
  # 54 bytes and the 10 of the longer choice are all that a row holds.
  fits, long = (
    small_tasks.record(**RECORD.values | {'prompt': 'a' * count}) for count in (54, 55)
  )
  counts = Counts()
  scorer = Scorer((-9.0, 4), (-1.0, 4))
  found = task.answer(scorer, [long, fits, long], counts=counts)
  assert counts.examples == 3 and found[1]['label'] == 1
  if too_long == 'truncate':
    assert (counts.truncated, counts.dropped) == (2, 0) and None not in found
    return
  assert (counts.truncated, counts.dropped) == (0, 2)
  assert found[0] is None and found[2] is None
  metrics = task.score([long, fits], [task.unanswered(long), found[1]]).metrics
  assert metrics == dict(accuracy_norm=0.5, accuracy=0.5)


def test_a_dropped_prompt_is_told_in_the_scores(tmp_path, capsys):
  short = dict(prompt='b', choices=['b', 'c'], label=0)
  path = small_tasks.write(tmp_path / 'a.jsonl', [short, short | {'prompt': 'b' * 99}])
  options = {'train.steps': 1, 'task.too_long': 'drop'}
  metrics, predictions = small_tasks.train(
    'choice', 'causal_lm', path, tmp_path / 'run', options
  )
  assert metrics['prompts_dropped'] == 1 and metrics['accuracy'] <= 0.5
  assert predictions[1]['prediction'] == dict(
    label=-1, likeliest=-1, log_probs=[], lengths=[], dropped=True
  )
  said = capsys.readouterr().err
  assert 'test: prompts: 1 dropped of 2, which with their answers have more' in said
  assert 'dropped ones count as wrong' in said
  records = [short | {'prompt': 'b' * 99}, short]
  first, second = gpt_jax.load(tmp_path / 'run').predict(records)
  assert first is None and second['label'] in (0, 1)


@pytest.mark.parametrize('prompt, longest', [('abc', 62), ('', 63)])
def test_an_example_whose_choice_fills_a_row_is_left_unanswered(prompt, longest):
  task, _ = made()  # rows of 64: a token is before the choice, and a space in one
  fits, long = (
    small_tasks.record(prompt=prompt, choices=['b' * count, 'c'])
    for count in (longest, longest + 1)
  )
  counts = Counts()
  found = task.answer(Scorer((-9.0, 4), (-1.0, 4)), [fits, long], counts=counts)
  assert found[0] is not None and found[1] is None
  assert (counts.examples, counts.dropped) == (2, 1)


@pytest.mark.slow
def test_a_choice_beyond_the_positions_ends_no_training(tmp_path):
  short = dict(prompt='b', choices=['b', 'c'], label=0)
  long = short | {'choices': ['b', 'c' * 99]}
  path = small_tasks.write(tmp_path / 'a.jsonl', [short, long])
  options = {
    'train.steps': 1, 'model.position': 'learned', 'model.max_seq_len': 64
  }  # fmt: skip
  metrics, predictions = small_tasks.train(
    'choice', 'causal_lm', path, tmp_path / 'run', options
  )
  assert metrics['prompts_dropped'] == 1 and metrics['accuracy'] <= 0.5
  assert predictions[1]['prediction']['dropped']
  found = gpt_jax.load(tmp_path / 'run').predict([short, long])
  assert found[0]['label'] in (0, 1) and found[1] is None


def test_the_baselines_are_places_and_lengths():
  task, _ = made()
  found = task.baselines([], [RECORD])
  accuracy = {
    name: task.score([RECORD], rows).metrics['accuracy'] for name, rows in found.items()
  }
  assert accuracy == {'first choice': 0.0, 'longest choice': 1.0}


@pytest.mark.parametrize(
  'values, message',
  [
    (dict(prompt=None, choices=['a', 'b']), 'prompt is None'),
    (dict(prompt='', choices=['a']), 'choices are .*expected a list of two texts'),
    (dict(prompt='', choices=['a', ' ']), "a choice is ' '"),
    (dict(prompt='', choices=['a', 'b'], label=2), 'label=2: expected .* 0 to 1'),
    (dict(prompt='', choices=['a', 'b'], label='x'), "label='x'"),
  ],
)
def test_bad_records_are_refused(values, message):
  task, _ = made()
  with pytest.raises(DataError, match=f'line 1: {message}'):
    task.check(small_tasks.record(**values))


@pytest.mark.slow
def test_the_right_choice_becomes_the_likelier_one(tmp_path):
  records = [
    dict(prompt=f'{letter}?', choices=['north', 'south'], label=int(letter in 'cd'))
    for letter in 'abcd' * 4
  ]
  path = small_tasks.write(tmp_path / 'a.jsonl', records)
  metrics, predictions = small_tasks.train(
    'choice', 'causal_lm', path, tmp_path / 'run', {'train.steps': 60}
  )
  assert metrics['accuracy'] == metrics['accuracy_norm'] == 1
  assert len(predictions[0]['prediction']['log_probs']) == 2
