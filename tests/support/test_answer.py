"""The best of several readings."""

import math

import pytest

from gpt_jax.retrieval.passages import Passage
from gpt_jax.retrieval.search import Hit
from gpt_jax.support import answer


def hits(*scores):
  return [
    Hit(i + 1, Passage('a.md', '', 'text'), score, None, score)
    for i, score in enumerate(scores)
  ]


@pytest.mark.parametrize('weight, number', [(0.0, 1), (1.9, 1), (2.1, 0)])
def test_search_and_reading_are_weighed(weight, number):
  # The second reading is 4 times as likely; its rank costs a factor of 2 ** weight.
  readings = [('one', math.log(0.1)), ('two', math.log(0.4))]
  assert answer.best(readings, hits(3.0, 1.0), weight).number == number


def test_a_reading_without_text_is_no_answer():
  assert answer.best([('', 0.0)], hits(1.0), 1.0) == answer.NONE
  assert answer.best([], [], 1.0) == answer.NONE


def test_log_probabilities_have_an_end():
  assert answer.best([('a', -99.0)], hits(1.0), 1.0).log_prob == answer.LEAST


def test_a_passage_is_read_once_for_a_question():
  asked = []

  def read_many(pairs, progress):
    asked.extend(pairs)
    return [(text, -1.0) for _, text in pairs]

  made = answer.Readings(read_many, 1.0)
  first = made.answer_many([('a', hits(1.0)), ('a', hits(2.0, 1.0))])
  assert asked == [('a', 'text')] and first[0].text == 'text'
  assert made.answer_many([('a', hits(1.0))]) == first[:1]
  assert asked == [('a', 'text')]
  assert made.answer_many([('b', [])]) == [answer.NONE]
