"""Filling a prompt template in, and reading labels back."""

import string

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.templates import prompts
from gpt_jax.templates.template import (
  PromptTemplate,
  canonical_label,
  continuations,
  label_of,
  names_in,
  prompt_of,
  render,
)

WORDS = {'neg': ('bad', 'awful'), 'pos': ('good', 'good enough')}
MINE = PromptTemplate(
  'mine', '{text} It was', ' {label}', verbalizers=WORDS, aliases={'1': 'pos'}
)


@pytest.mark.parametrize(
  'text', ['{text}', 'a {text} b {text_b}', '{{{text}}}', '{{}} {text} {{text}}', 'a']
)
def test_braces_mean_what_they_mean_to_python(text):
  values = {'text': 'x{y}', 'text_b': '{{'}
  template = PromptTemplate('mine', text)
  assert prompt_of(template, values) == text.format(**values)
  fields = [name for _, name, _, _ in string.Formatter().parse(text) if name]
  assert names_in(text) == fields


def test_placeholders_in_a_value_stay_as_they_are():
  values = {'text': 'see {label} and {nothing}', 'label': 'pos'}
  assert render(MINE, values) == ('see {label} and {nothing} It was', ' good')


def test_labels_of_files_are_those_of_the_words():
  assert canonical_label(MINE, 1) == canonical_label(MINE, 'pos') == 'pos'
  assert canonical_label(MINE, 'neutral') is None
  assert render(MINE, {'text': '', 'label': 1})[1] == ' good'


def test_each_label_has_its_continuation():
  assert continuations(MINE, {'text': 'x'}) == {'neg': ' bad', 'pos': ' good'}
  without_words = prompts.get('{source}', target='{targets}')
  assert continuations(without_words, {'source': 'x'}) == {}


@pytest.mark.parametrize(
  'text, label',
  [
    (' good', 'pos'),
    ('Good enough.\n', 'pos'),
    ('\nAWFUL!', 'neg'),
    ('it is good', None),
    ('', None),
  ],
)
def test_a_continuation_is_read_as_a_label(text, label):
  assert label_of(MINE, text) == label


def test_the_longest_word_decides():
  template = PromptTemplate(
    'mine', '', verbalizers={'false': ('no',), 'unknown': ('not sure',)}
  )
  assert label_of(template, 'not sure') == 'unknown'


@pytest.mark.parametrize(
  'values, message',
  [
    ({'txt': 'x'}, "line 3: no field 'text', .* is it 'txt'"),
    ({'text': 'x', 'label': 'positive'}, "line 3: label='positive': .* words for neg"),
    ({'text': ['x'], 'label': 'pos'}, r'line 3: .*\{text\} cannot be printed from'),
  ],
)
def test_a_record_that_does_not_fit_is_named(values, message):
  with pytest.raises(DataError, match=message):
    render(MINE, values, 'line 3')
