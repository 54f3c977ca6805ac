"""Limits of length at their edges."""

import dataclasses

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.corpus import length
from tests.corpus import texts


@pytest.mark.parametrize(
  'limits, text, reason',
  [
    ({'min_words': 3}, 'one, two', 'too few words'),
    ({'min_words': 3}, 'one, two three', None),
    ({'min_words': 0, 'max_words': 2}, 'one two three', 'too many words'),
    ({'min_words': 0, 'max_words': 0}, 'one ' * 200, None),
    ({'min_words': 3}, '红楼梦', None),
    ({'min_words': 0, 'min_chars': 4}, 'abc', 'too few characters'),
    ({'min_words': 0, 'max_chars': 3}, 'abcd', 'too many characters'),
  ],
)
def test_length_has_a_least_and_a_most(limits, text, reason):
  step = length.make(length.Options(**limits), None)
  assert step.keep(texts.document(text)) == reason


def test_limits_that_leave_nothing_are_refused():
  with pytest.raises(ConfigError, match='min_words=50: expected at most max_words=9'):
    length.make(length.Options(max_words=9), None)


def test_a_long_text_is_as_long_as_its_beginning_suggests(monkeypatch):
  monkeypatch.setattr('gpt_jax.corpus.step.LONG_BYTES', 9)
  monkeypatch.setattr(length, 'LONG_BYTES', 9)
  document = dataclasses.replace(texts.document('红楼梦' * 10), text='红楼梦')
  for unit, what in (('chars', 'characters'), ('words', 'words')):
    limits = {'min_words': 0, f'max_{unit}': 29}
    step = length.make(length.Options(**limits), None)
    assert step.keep(document) == f'too many {what}'
    step = length.make(length.Options(**limits | {f'max_{unit}': 30}), None)
    assert step.keep(document) is None
