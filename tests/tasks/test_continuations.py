"""Rows of a prompt and its continuation: ids, loss, what is cut; templates."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer
from gpt_jax.tasks import continuations
from gpt_jax.tasks.encoding import Encoder
from tests.tasks import small_tasks

FIELDS = ('prompt', 'choices', 'label')


def encoder(seq_len=64, tokenizer=None, too_long='truncate'):
  fields = {'data.seq_len': seq_len, 'task.too_long': too_long}
  settings = small_tasks.config('choice', 'causal_lm', fields)
  return Encoder(tokenizer or ByteTokenizer(), settings.data, settings.task)


def test_the_continuation_and_the_end_bear_the_loss():
  row = continuations.continuation_row(encoder(), 'Say:', ' yes')
  assert small_tasks.bearing_loss(row) == ' yes<end>'
  assert bytes(row.tokens[:-1].astype(np.uint8)) == b'Say: yes'


def test_a_long_prompt_loses_its_first_tokens():
  row = continuations.continuation_row(encoder(8), 'A long prompt:', ' ok')
  assert bytes(row.tokens[:-1].astype(np.uint8)) == b'mpt: ok'
  assert len(row.tokens) == 8 and small_tasks.bearing_loss(row) == ' ok<end>'
  assert continuations.continuation_row(encoder(4), 'Say:', ' yes') is None


def test_what_is_cut_is_counted_or_dropped():
  made = encoder(8)
  continuations.continuation_row(made, 'Say', ' ok')
  assert made.counts.truncated == 0
  continuations.continuation_row(made, 'A long prompt:', ' ok', is_cut=True)
  assert made.counts.truncated == 1
  made = encoder(8, too_long='drop')
  assert continuations.continuation_row(made, 'A long prompt:', ' ok') is None
  assert continuations.continuation_row(made, 'Say', ' ok') is not None
  assert (made.counts.dropped, made.counts.truncated) == (1, 0)


def test_without_a_prompt_every_token_of_the_text_is_predicted():
  row = continuations.continuation_row(encoder(), '', 'abc')
  assert row.tokens[0] == 256 and small_tasks.bearing_loss(row) == 'abc<end>'
  chars = encoder(tokenizer=CharTokenizer('abc\n'))
  row = continuations.continuation_row(chars, '', 'abc')
  assert row.tokens.tolist() == [0, 1, 2, 3]
  assert row.fields['loss_mask'].tolist() == [0, 1, 1, 1]


def test_texts_are_cut_at_whole_characters():
  assert continuations.cut_text(encoder(), 'ab', 2) == 'ab'
  assert continuations.cut_text(encoder(), 'aéb', 2) == 'aé'  # half of it is no text
  assert continuations.cut_text(encoder(), 'ab', 0) == ''
  assert continuations.cut_text(encoder(), 'ab', -1) == ''


def test_templates_are_names_or_texts():
  named = continuations.template_of('piqa-en', ' {choice}', FIELDS, 'label')
  assert named.target == ' {letter}'
  text = continuations.template_of('Goal: {prompt}', ' {choice}', FIELDS, 'label')
  assert (text.text, text.target) == ('Goal: {prompt}', ' {choice}')
  with pytest.raises(ConfigError, match='did you mean {prompt}'):
    continuations.template_of('Goal: {promt}', ' {choice}', FIELDS, 'label')


@pytest.mark.parametrize('name', ['label', 'choice', 'letter'])
def test_the_answer_may_not_stand_in_the_prompt(name):
  with pytest.raises(
    ConfigError, match=rf'\{{{name}\}} in the prompt gives the answer'
  ):
    continuations.template_of(f'{{prompt}} {{{name}}}', ' {choice}', FIELDS, 'label')
