"""Answers of records: none, none known, and their language."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.tasks import answers
from tests.tasks.small_tasks import record


def test_no_answer_is_not_an_unknown_one():
  assert answers.answer_texts(record()) is None
  assert answers.answer_texts(record(answers=[])) == []
  assert answers.answer_texts(record(answers=[{'text': 'a'}, {'text': 'b'}])) == [
    'a',
    'b',
  ]


def test_places_are_asked_for_where_they_are_needed():
  one = record(answers=[{'text': 'a'}])
  answers.check_answers(one, needs_start=False)
  with pytest.raises(DataError, match="line 1: .*expected a list of {'text', 'start'}"):
    answers.check_answers(one)


def test_the_language_is_that_of_the_contexts():
  texts = [record(context='灯塔建于十九世纪'), record(context='OK')]
  assert answers.language_of('auto', texts) == 'zh'
  assert answers.language_of('auto', texts[1:]) == 'en'
  assert answers.language_of('en', texts) == 'en'
