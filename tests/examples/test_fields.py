"""What fields hold, what of them is input, and what keeps records together."""

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.examples import fields
from gpt_jax.examples.record import Record


@pytest.mark.parametrize(
  'values, message',
  [
    ({'text': ' '}, 'a, line 1: text is empty; expected text'),
    ({'text': 5}, 'text is 5; expected text'),
    ({'text': 'half \ud83d'}, 'text has half a character'),
    ({'text': 'x', 'label': ''}, 'label is empty'),
    ({'text': 'x', 'label': None}, 'label is empty'),
    ({'prompt': None}, 'prompt is None; expected text'),
    ({'targets': 'x'}, "targets is 'x'; expected a list of texts"),
    ({'choices': []}, 'choices is empty; expected at least one'),
    ({'words': ['a', '']}, 'words is empty'),
    ({'words': ['a', 'b'], 'tags': ['O']}, '2 words and 1 tags'),
  ],
)
def test_fields_of_another_form_are_named(values, message):
  with pytest.raises(DataError, match=message):
    fields.check(values, 'a, line 1')


def test_good_fields_pass():
  good = {'text': 'x', 'label': 0, 'prompt': '', 'choices': ['a'], 'other': ''}
  fields.check(good, 'here')


def record(**values):
  return Record(values, 'here')


def test_labels_and_answers_are_no_inputs():
  said = [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}]
  assert fields.inputs(record(text='x', label=1, head=(0, 1))) == {'text': 'x'}
  assert fields.inputs(record(source='x', targets=['y'])) == {'source': 'x'}
  assert fields.inputs(record(messages=said, chosen=said[1])) == {'messages': ['a']}
  with pytest.raises(ConfigError, match='none of the fields text.*there are 0, 1'):
    fields.inputs(Record({'0': 'x', '1': 'y'}, 'here'))


def test_groups_are_articles_and_users():
  digest = fields.group_texts
  asked = dict(question='q', answers=[])
  one = record(title='t', context='c', **asked)
  assert digest(one) == digest(record(title='t', context='d', **asked))
  assert digest(one) != digest(record(title='u', context='c', **asked))
  # Without a title a paragraph is the group.
  without = record(title='', context='c', **asked)
  assert digest(without) == digest(record(context='c', question='r', answers=[]))
  liked = dict(history=['a'], candidate='b', label=1)
  assert digest(record(user='1', **liked)) == digest(
    record(user='1', history=['b'], candidate='c', label=0)
  )
  assert digest(record(user='1', **liked)) != digest(record(user='2', **liked))


def test_the_share_is_a_hash_of_canonical_json():
  import hashlib

  asked = record(text_b='b', label='1', text='Ä  a')
  exact, folded = '{"text": "Ä  a", "text_b": "b"}', '{"text": "ä a", "text_b": "b"}'
  assert fields.group_texts(asked) == (exact, folded)
  digest = hashlib.sha256(exact.encode()).digest()
  assert fields.share(exact) == int.from_bytes(digest[:8], 'big') / 2**64
