"""Answers score as SQuAD's definition says, counted by hand, in English and Chinese."""

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.evaluation import answer_scores as module
from gpt_jax.evaluation.answer_scores import answer_scores


@pytest.mark.parametrize(
  'answer, words',
  [
    ('The  Cat, a dog.', ['cat', 'dog']),
    ('A.D. 79', ['ad', '79']),
    ('an-the', ['anthe']),
    ('theatre', ['theatre']),
    ('$3.5 million', ['35', 'million']),
    ('the', []),
    ('', []),
  ],
)
def test_normalization_is_that_of_squad(answer, words):
  assert module.english_tokens(answer) == words


def test_the_best_of_several_answers_counts():
  scores = answer_scores(
    [['Denver Broncos', 'The Denver Broncos of 2016'], ['gold']],
    ['the Denver Broncos!', 'golden anniversary'],
  )
  assert scores.metrics == {'exact_match': 0.5, 'f1': 0.5}


def test_f1_counts_shared_words_with_repeats():
  # Two of three predicted words and two of four wanted ones: 2 * 2 / 7.
  scores = answer_scores([['blue blue red green']], ['blue red black'])
  assert scores.metrics == {'exact_match': 0.0, 'f1': pytest.approx(4 / 7)}
  assert module.token_f1(['x', 'x'], ['x']) == pytest.approx(2 / 3)


def test_exact_match_respects_order_and_f1_does_not():
  scores = answer_scores([['red and blue']], ['blue and red'])
  assert scores.metrics == {'exact_match': 0.0, 'f1': 1.0}


def test_unanswerable_questions_ask_for_silence():
  scores = answer_scores([['Paris'], [], [], ['x y']], ['Paris', '', 'Rome', ''])
  assert scores.metrics == {
    'exact_match': 2 / 4,
    'f1': 2 / 4,
    'unanswerable_accuracy': 1 / 2,
    'answerable_exact_match': 1 / 2,
    'answerable_f1': 1 / 2,
  }
  assert scores.details['num_unanswerable'] == 2


def test_chinese_answers_share_characters():
  # Three of four predicted and three of five wanted characters.
  scores = answer_scores([['《北京大学》的']], ['北京大地'], 'zh')
  assert scores.metrics == {'exact_match': 0.0, 'f1': pytest.approx(2 * 3 / 9)}
  assert answer_scores([['308 分']], ['308分。'], 'zh').metrics['exact_match'] == 1.0


def test_scores_lie_between_zero_and_one_and_exact_below_f1():
  answers = ['a red fox', 'red', 'the', '', 'fox. red!', 'Red-fox']
  for wanted in answers:
    for found in answers:
      metrics = answer_scores([[wanted]], [found]).metrics
      assert 0 <= metrics['exact_match'] <= metrics['f1'] <= 1
      assert metrics['f1'] == answer_scores([[found]], [wanted]).metrics['f1']


def test_what_cannot_be_scored_is_refused():
  with pytest.raises(DataError, match='there are no examples'):
    answer_scores([], [])
  with pytest.raises(DataError, match=r"gold\[0\]='Paris': expected a list"):
    answer_scores(['Paris'], ['Paris'])
  with pytest.raises(ConfigError, match="language='xx'"):
    answer_scores([['Paris']], ['Paris'], 'xx')
