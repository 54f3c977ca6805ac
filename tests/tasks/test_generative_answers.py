"""Answers that a language model writes: prompts, loss, what is read back."""

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.tasks.encoding import Counts
from tests.tasks import small_tasks

TEMPLATE = '{context}\nQ: {question}\nA:'
RECORD = small_tasks.record(
  context='Ada wrote it.', question='Who?', answers=[{'text': 'Ada', 'start': 0}]
)


def made(**overrides):
  named = {'template': TEMPLATE, 'max_answer_tokens': 6} | overrides
  seq_len = named.pop('seq_len', 64)
  too_long = named.pop('too_long', 'truncate')
  options = {f'task.options.{name}': value for name, value in named.items()}
  fields = {'data.seq_len': seq_len, 'task.too_long': too_long}
  return small_tasks.made('generative_qa', 'causal_lm', options | fields)


def test_the_answer_bears_the_loss():
  task, encoder = made()
  (row,) = task.encode(RECORD, encoder, True)
  assert small_tasks.bearing_loss(row) == ' Ada<end>'
  none = small_tasks.record(context='Ada.', question='Why?', answers=[])
  (row,) = task.encode(none, encoder, True)
  assert small_tasks.bearing_loss(row) == ' no answer<end>'


def test_a_long_context_is_cut_so_that_the_answer_fits():
  task, encoder = made(seq_len=28)
  prompt, is_cut = task.prompt_of(RECORD, encoder)
  assert is_cut and prompt.endswith('\nQ: Who?\nA:')
  assert len(prompt) == 28 - 1 - 6 - 1  # the end, the answer, one for seams
  assert RECORD.values['context'].startswith(prompt.split('\n')[0])
  (row,) = task.encode(RECORD, encoder, True)
  assert small_tasks.bearing_loss(row) == ' Ada<end>'
  assert encoder.counts.truncated == 1
  task, encoder = made(seq_len=28, too_long='drop')
  assert task.encode(RECORD, encoder, True) == [] and encoder.counts.dropped == 1


class Writer:
  """A generator that answers every prompt alike."""

  def __init__(self, tokenizer, text):
    self.tokenizer, self._text, self.asked = tokenizer, text, []

  def generate(self, prompts, **options):
    self.asked += prompts
    assert options['temperature'] == 0.0 and options['max_new_tokens'] == 6
    return [self._text for _ in prompts]


def test_what_is_written_is_the_answer():
  task, encoder = made()
  writer = Writer(encoder.tokenizer, ' Ada ')
  found = task.answer(writer, [RECORD] * 40)
  assert found == [{'text': 'Ada'}] * 40 and len(writer.asked) == 40
  assert writer.asked[0] == 'Ada wrote it.\nQ: Who?\nA:'
  assert task.score([RECORD] * 40, found).metrics['exact_match'] == 1
  silent = task.answer(Writer(encoder.tokenizer, 'No answer'), [RECORD])
  assert silent == [{'text': ''}]
  assert task.baselines([], [RECORD])['nearest sentence'] == [{'text': 'Ada wrote it.'}]


@pytest.mark.parametrize('too_long', ['truncate', 'drop'])
def test_long_prompts_are_counted_and_dropped_ones_wrong(too_long):
  task, encoder = made(seq_len=28, too_long=too_long)
  none = small_tasks.record(**RECORD.values | {'answers': []})
  short = small_tasks.record(**RECORD.values | {'context': 'Ada.'})
  counts = Counts()
  writer = Writer(encoder.tokenizer, 'Ada')
  found = task.answer(writer, [RECORD, short, none], counts=counts)
  assert counts.examples == 3
  if too_long == 'truncate':
    assert (counts.truncated, counts.dropped) == (2, 0)
    assert found == [{'text': 'Ada'}] * 3
    return
  assert (counts.truncated, counts.dropped) == (0, 2)
  assert found == [None, {'text': 'Ada'}, None] and len(writer.asked) == 1
  records = [RECORD, none]
  metrics = task.score(records, [task.unanswered(one) for one in records]).metrics
  assert metrics['exact_match'] == metrics['f1'] == 0  # '' would be right for `none`


def test_what_cannot_be_done_is_refused():
  with pytest.raises(ConfigError, match="too_long='window': generative_qa"):
    made(too_long='window')
  with pytest.raises(ConfigError, match='did you mean {context}'):
    made(template='{contxt} {question}')
  task, _ = made()
  with pytest.raises(DataError, match="line 1: has no 'question'"):
    task.check(small_tasks.record(context='a'))


@pytest.mark.slow
def test_a_tiny_model_learns_to_answer(tmp_path):
  records = [
    dict(context=letter, question='?', answers=[{'text': letter}])
    for letter in 'bcde' * 4  # a would be an article
  ]
  path = small_tasks.write(tmp_path / 'a.jsonl', records)
  options = {
    'train.steps': 200, 'data.seq_len': 32, 'task.options.max_answer_tokens': 3,
    'task.options.template': '{question}{context}',
  }  # fmt: skip
  metrics, predictions = small_tasks.train(
    'generative_qa', 'causal_lm', path, tmp_path / 'run', options
  )
  assert metrics['exact_match'] > 0.9 and metrics['loss'] < 0.2
  assert predictions[0]['prediction'] == {'text': 'b'}
