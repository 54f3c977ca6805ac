"""Instructions and turns become messages with roles."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import conversations


def roles(record):
  return [(one['role'], one['content']) for one in record.values['messages']]


def test_an_instruction_and_its_input_are_one_message(write):
  objects = [
    {'instruction': 'Add.', 'input': '1 + 1', 'output': '2'},
    {'instruction': 'Wait.', 'input': '', 'output': 'Done.'},
  ]
  for name in ('a.json', 'a.jsonl'):
    one, two = conversations.read_alpaca([write(name, objects)], 'utf-8')
    assert roles(one) == [('user', 'Add.\n\n1 + 1'), ('assistant', '2')]
    assert roles(two) == [('user', 'Wait.'), ('assistant', 'Done.')]


def test_a_system_text_and_earlier_turns_come_first(write):
  one = {'instruction': 'c', 'output': 'd', 'system': 's', 'history': [['a', 'b']]}
  (found,) = conversations.read_alpaca([write('a.json', [one])], 'utf-8')
  assert [content for _, content in roles(found)] == ['s', 'a', 'b', 'c', 'd']
  assert [role for role, _ in roles(found)][:3] == ['system', 'user', 'assistant']


def turn(speaker, text):
  return {'from': speaker, 'value': text}


def test_turns_and_preferred_answers_are_messages(write):
  turns = [turn('system', 's'), turn('human', 'a'), turn('gpt', 'b'), turn('user', 'c')]
  one = {
    'conversations': turns,
    'chosen': turn('gpt', 'd'),
    'rejected': turn('gpt', 'e'),
  }
  path = write('a.json', [{'conversations': turns}, one])
  plain, preferred = conversations.read_sharegpt([path], 'utf-8')
  assert [role for role, _ in roles(plain)] == ['system', 'user', 'assistant', 'user']
  assert set(plain.values) == {'messages'}
  assert preferred.values['chosen'] == {'role': 'assistant', 'content': 'd'}
  assert preferred.values['rejected'] == {'role': 'assistant', 'content': 'e'}


@pytest.mark.parametrize(
  'read, one, message',
  [
    ('alpaca', {'instruction': 'a', 'output': ' '}, "assistant is ' '; expected words"),
    ('alpaca', {'instruct': 'a'}, "no 'instruction'; .*did you mean 'instruct'"),
    (
      'alpaca',
      {'instruction': 'a', 'output': 'b', 'history': ['x']},
      "'history' has 'x'",
    ),
    ('sharegpt', {'conversations': []}, "'conversations' is empty"),
    ('sharegpt', {'conversations': ['hi']}, "turn 1: 'hi'; expected"),
    ('sharegpt', {'conversations': [turn('humn', 'a')]}, "did you mean 'human'"),
    (
      'sharegpt',
      {'conversations': [turn('gpt', '')]},
      'turn 1: the text of the assist',
    ),
    (
      'sharegpt',
      {'conversations': [turn('human', 'a')], 'chosen': turn('gpt', 'b')},
      "object 1: no 'rejected'",
    ),
  ],
)
def test_what_is_no_conversation_is_named(write, read, one, message):
  with pytest.raises(DataError, match=message):
    path = write('a.json', [one])
    list(getattr(conversations, f'read_{read}')([path], 'utf-8'))
