"""Conversations: replies bear loss, a reply is asked for, ended and compared."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.tasks import dialogue
from gpt_jax.tasks.encoding import Counts
from gpt_jax.templates import jinja_chat
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.tasks import text_tasks

BYTES = ByteTokenizer()
PLAIN = {'task.options.template': 'plain'}


class Chatty(ByteTokenizer):
  """Bytes, and the two special tokens of ChatML."""

  vocab_size = 259
  special_tokens = ByteTokenizer.special_tokens | {
    '<|im_start|>': 257,
    '<|im_end|>': 258,
  }
  token_bytes = [*ByteTokenizer.token_bytes, b'', b'']


def said(*texts, system=None):
  """Returns {'messages'} of user and assistant in turn."""
  roles = ('user', 'assistant')
  messages = [{'role': roles[i % 2], 'content': text} for i, text in enumerate(texts)]
  first = [{'role': 'system', 'content': system}] if system else []
  return {'messages': first + messages}


def record(*texts, **system):
  return Record(said(*texts, **system), 'a.json, object 1')


def test_one_text_is_a_message_of_the_user():
  task = text_tasks.task_of('dialogue', PLAIN)
  values = task.values_of('Name three colours.')
  assert values == said('Name three colours.')
  task.check(Record(values, 'text 0'))


def test_loss_is_on_the_replies_and_their_end_markers():
  task = text_tasks.task_of('dialogue', {'data.seq_len': 256})
  values = said('Hi', 'Hello', 'Bye', 'See you', system='Be kind.')
  (row,), _ = text_tasks.rows_of(task, values, Chatty())
  mask = row.fields['loss_mask'].astype(bool)
  runs = np.split(row.tokens, np.flatnonzero(np.diff(mask)) + 1)
  bearing = [runs[i].tolist() for i in range(1, len(runs), 2)]
  end = 258
  expected = [[*BYTES.encode(text), end] for text in ('Hello', 'See you')]
  assert bearing == expected
  assert 'Be kind.' in Chatty().decode(row.tokens[~mask])


def test_the_end_token_bears_the_loss_of_the_last_reply():
  task = text_tasks.task_of('dialogue', PLAIN)
  (row,), _ = text_tasks.rows_of(task, said('Hi', 'Hello'))
  assert text_tasks.shown(row.tokens, BYTES) == 'User: Hi\nAssistant: Hello\n[END]'
  assert text_tasks.with_loss(row, BYTES) == ' Hello\n[END]'
  (row,), _ = text_tasks.rows_of(task, said('Hi', 'Hello', 'Bye'))
  assert text_tasks.with_loss(row, BYTES) == ' Hello\n'


def test_a_long_conversation_loses_an_end_or_is_dropped():
  values = said('a' * 40, 'b' * 40)
  settings = PLAIN | {'data.seq_len': 72, 'task.options.max_new_tokens': 8}
  for too_long, text in (
    ('truncate', ' ' + 'b' * 14),
    ('truncate_left', ' ' + 'b' * 40 + '\n[END]'),
  ):
    task = text_tasks.task_of('dialogue', settings | {'task.too_long': too_long})
    (row,), encoder = text_tasks.rows_of(task, values)
    assert text_tasks.with_loss(row, BYTES) == text
    assert encoder.counts.truncated == 1 and len(row.tokens) == 72
  task = text_tasks.task_of('dialogue', settings | {'task.too_long': 'drop'})
  rows, encoder = text_tasks.rows_of(task, values)
  assert rows == [] and encoder.counts.dropped == 1
  # What is left of this one would bear no loss.
  task = text_tasks.task_of('dialogue', settings)
  rows, encoder = text_tasks.rows_of(task, said('a' * 80, 'b'))
  assert rows == [] and encoder.counts.dropped == 1


def test_the_last_reply_is_asked_for_and_compared():
  task = text_tasks.task_of('dialogue', PLAIN | {'data.seq_len': 128})
  echo = text_tasks.Echo()
  records = [record('Hi', 'Hello', 'Bye', 'See you'), record('What now?')]
  found = task.answer(echo, records)
  first = 'User: Hi\nAssistant: Hello\nUser: Bye\nAssistant:'
  assert sorted(echo.asked) == sorted([first, 'User: What now?\nAssistant:'])
  assert found[1] == {'text': 'User: What now?\nAssistant:'}
  assert [task.gold(one) for one in records] == ['See you', None]
  assert task.describe(records[0]) == 'user: Hi\nassistant: Hello\nuser: Bye'
  assert echo.options[0]['stop'] == '\nUser:'


@pytest.mark.parametrize('too_long', ['truncate', 'drop'])
def test_long_conversations_are_counted_in_writing(too_long):
  settings = {
    'data.seq_len': 64, 'task.too_long': too_long, 'task.options.max_new_tokens': 32
  }  # fmt: skip
  task = text_tasks.task_of('dialogue', PLAIN | settings)
  echo, counts = text_tasks.Echo(), Counts()
  found = task.answer(echo, [record('Hi'), record('a' * 40)], counts=counts)
  assert found[0] == {'text': 'User: Hi\nAssistant:'} and counts.examples == 2
  if too_long == 'truncate':
    assert (counts.truncated, counts.dropped) == (1, 0)
    assert found[1] == {'text': 'a' * 21 + '\nAssistant:'}  # 32 bytes
  else:
    assert (counts.truncated, counts.dropped) == (0, 1)
    assert found[1] is None and len(echo.asked) == 1


@pytest.mark.parametrize(
  'name, tokenizer, ends',
  [
    ('chatml', Chatty(), {'stop_tokens': '<|im_end|>'}),
    ('chatml', BYTES, {'stop': '<|im_end|>'}),
    ('gemma', BYTES, {'stop': '<end_of_turn>'}),
    ('llama3', BYTES, {'stop': '<|eot_id|>'}),
    ('plain', BYTES, {'stop': '\nUser:'}),
  ],
)
def test_a_text_ends_where_a_reply_of_its_template_does(name, tokenizer, ends):
  assert dialogue.ends_of(jinja_chat.get(name, tokenizer)) == ends


def test_the_reply_to_the_nearest_request_is_a_baseline():
  pytest.importorskip('sklearn', reason='TF-IDF needs scikit-learn')
  task = text_tasks.task_of('dialogue')
  train, asked = (
    [Record({'messages': alternating(*texts)}, 'a.json') for texts in given]
    for given in (
      [('Name a fruit.', 'Apple.'), ('Write a poem.', 'Roses.'), ('And now?',)],
      [('Which fruit?', 'Pear.')],
    )
  )
  (found,) = task.baselines(train, asked).values()
  assert found == [{'text': 'Apple.'}]
  assert task.baselines(train[2:], asked) == {}


def alternating(*texts):
  roles = ('user', 'assistant')
  return [{'role': roles[i % 2], 'content': text} for i, text in enumerate(texts)]


def test_rouge_l_is_that_of_the_package():
  rouge = pytest.importorskip(
    'rouge_score.rouge_scorer', reason='rouge-score is missing: pip install rouge-score'
  )
  task = text_tasks.task_of('dialogue')
  records = [record('a', 'The cat sat down.'), record('b', 'It rains again today.')]
  texts = ['A cat sat.', 'It is dry today.']
  scorer = rouge.RougeScorer(['rougeL'], use_stemmer=True)
  expected = np.mean(
    [
      scorer.score(task.gold(one), text)['rougeL'].fmeasure
      for one, text in zip(records, texts, strict=True)
    ]
  )
  scores = task.score(records, [{'text': text} for text in texts])
  assert scores.metrics == pytest.approx({'rougeL': expected})


def test_bad_conversations_and_templates_are_told():
  task = text_tasks.task_of('dialogue')
  with pytest.raises(DataError, match="line 2: has no 'messages'.*task.reader=alpaca"):
    task.check(Record({'text': 'a'}, 'a.json, line 2'))
  with pytest.raises(DataError, match='turn 1 .assistant.: speaks first'):
    task.check(
      Record({'messages': [{'role': 'assistant', 'content': 'a'}]}, 'a.json, line 2')
    )
  with pytest.raises(ConfigError, match="template.*did you mean 'chatml'"):
    text_tasks.config('dialogue', {'task.options.template': 'chatmll'})
  with pytest.raises(ConfigError, match='trains with causal_lm'):
    text_tasks.config('dialogue', {'objective.name': 'prefix_lm'})


@pytest.mark.extra
@pytest.mark.slow
def test_a_tiny_model_learns_to_reply(tmp_path):
  pytest.importorskip(
    'rouge_score', reason='rouge-score is missing: pip install rouge-score'
  )
  examples = [said('ab'[i % 2], ('no', 'yes')[i % 2]) for i in range(160)]
  path = text_tasks.write_jsonl(tmp_path / 'train.jsonl', examples)
  few = text_tasks.write_jsonl(tmp_path / 'few.jsonl', examples[:8])
  settings = tiny_runs.tiny_config(
    text_tasks.SMALL
    | PLAIN
    | {
      'task.name': 'dialogue',
      'task.files': {'train': path, 'validation': few, 'test': few},
      'train.steps': 60,
      'eval.every_steps': 60,
      'checkpoint.every_steps': 60,
      'task.options.max_new_tokens': 8,
    }
  )
  scores, lines = text_tasks.train(settings, tmp_path / 'run')
  assert scores['test']['perplexity'] < 1.2
  assert scores['test']['rougeL'] > 0.95
  assert {line['prediction']['text'] for line in lines} == {'no', 'yes'}
  page = Workdir(tmp_path / 'run').samples.read_text()
  assert page.count('Reference:') == 5
  assert 'Input:\n\n    user: a\n\nWritten:\n\n    no\n' in page
