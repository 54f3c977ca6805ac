"""Dialogues and prompts with one or several texts to be written about them."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import summaries


def test_a_dialogue_has_one_summary_or_several(write):
  one = {'fname': 'x_0', 'dialogue': 'A: hi', 'summary': 'They greet.', 'topic': 'hi'}
  many = {'dialogue': 'B: no', 'summary1': 'a', 'topic1': 't', 'summary2': 'b'}
  found = summaries.read_dialogsum([write('a.jsonl', [one, many])], 'utf-8')
  assert [record.values for record in found] == [
    {'id': 'x_0', 'source': 'A: hi', 'targets': ['They greet.']},
    {'source': 'B: no', 'targets': ['a', 'b']},
  ]


def test_the_end_of_a_completion_is_no_text(write):
  objects = [
    {'prompt': 'TL;DR:\n', 'completion': f' short{end}'}
    for end in ('<|endoftext|>', '<|endoftext|>\n', '')
  ]
  found = summaries.read_p3([write('a.jsonl', objects)], 'utf-8')
  assert [record.values for record in found] == [
    {'source': 'TL;DR:\n', 'targets': ['short']}
  ] * 3


@pytest.mark.parametrize(
  'read, one, message',
  [
    (summaries.read_dialogsum, {'dialogue': 'x'}, "line 1: no 'summary' and no"),
    (summaries.read_dialogsum, {'summary': 'x'}, "line 1: no 'dialogue'; there are"),
    (
      summaries.read_p3,
      {'prompt': 'x', 'completion': 1},
      "'completion' is 1; expected",
    ),
  ],
)
def test_missing_texts_are_named(write, read, one, message):
  with pytest.raises(DataError, match=message):
    list(read([write('a.jsonl', [one])], 'utf-8'))
