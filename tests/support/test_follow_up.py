"""Questions that follow up."""

import pytest

from gpt_jax.support import follow_up

LAST = 'How long is the warranty on lamps?'


@pytest.mark.parametrize(
  'question',
  ['Does it cover bulbs and broken shades?', 'And to Switzerland?', 'for bulbs?',
   'How much do you charge customers for that?', '它多少钱？',
   '那么灯泡的保修期是多久呢？'],
)  # fmt: skip
def test_what_refers_is_put_behind_the_last_question(question):
  assert follow_up.query_of(question, LAST, True) == f'{LAST} {question}'


@pytest.mark.parametrize(
  'question',
  ['Which countries outside Europe do you deliver to?',
   'What is the name of the lamp that has four steps?', '可以用银行转账付款吗？'],
)  # fmt: skip
def test_a_question_of_its_own_is_asked_alone(question):
  assert follow_up.query_of(question, LAST, True) == question


def test_few_words_that_nobody_knows_do_not_follow_up():
  assert follow_up.query_of('xyzzy plugh', LAST, False) == 'xyzzy plugh'
  assert follow_up.query_of('for bulbs?', '', True) == 'for bulbs?'
