"""Each mistake of an object is told with its place, and the nearest name."""

import pytest

from gpt_jax.safety import rule_fields
from gpt_jax.safety.rule_fields import Field

FIELDS = {
  'name': Field(rule_fields.text),
  'share': Field(rule_fields.share, default=0.5),
  'kind': Field(rule_fields.choice('words', 'regex'), default='words'),
  'count': Field(rule_fields.natural, default=3),
  'is_on': Field(bool, default=False),
  'words': Field(rule_fields.texts, default=()),
}


def test_defaults_fill_what_is_left_out():
  found, mistakes = rule_fields.read_object({'name': 'a', 'words': ['b']}, FIELDS, 'x')
  assert mistakes == []
  assert found == {
    'name': 'a', 'share': 0.5, 'kind': 'words', 'count': 3, 'is_on': False,
    'words': ('b',),
  }  # fmt: skip


@pytest.mark.parametrize(
  'given, message',
  [
    ({}, 'x.name: is missing.'),
    ({'name': ' '}, "x.name=' ': expected a text that is not empty."),
    ({'name': 'a', 'share': True}, 'x.share=True: expected a number above 0'),
    ({'name': 'a', 'share': float('nan')}, 'x.share=nan: expected a number above 0'),
    ({'name': 'a', 'kind': 'wrods'}, "did you mean 'words'?"),
    ({'name': 'a', 'kind': 3}, 'x.kind=3: expected one of words, regex.'),
    ({'name': 'a', 'count': 0}, 'x.count=0: expected a whole number'),
    ({'name': 'a', 'is_on': 1}, 'x.is_on=1: expected true or false.'),
    ({'name': 'a', 'words': ['b', '']}, "x.words=['b', '']: expected a list of texts."),
    ({'name': 'a', 'wrods': []}, 'x.wrods: no such field; expected name, share,'),
    ([], 'x=[]: expected an object.'),
  ],
)
def test_a_mistake_is_told_with_its_place(given, message):
  _, mistakes = rule_fields.read_object(given, FIELDS, 'x')
  assert len(mistakes) == 1 and message in mistakes[0]


def test_all_mistakes_are_told():
  _, mistakes = rule_fields.read_object({'share': 2, 'count': 'x'}, FIELDS, '')
  assert len(mistakes) == 3 and mistakes[0].startswith('name: is missing')
