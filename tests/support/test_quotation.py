"""Where a passage says what a model wrote."""

import random

import pytest

from gpt_jax.evaluation.answer_scores import answer_scores
from gpt_jax.support import quotation

TEXT = 'The tower was built in 1871. Mr. Ott, who paid 5.90 euros, saw the Tower burn.'


@pytest.mark.parametrize(
  'said, found',
  [
    ('1871', '1871'),
    ('in 1871.', 'in 1871'),
    ('the  tower', 'The tower'),
    ('"5.90 euros"', '5.90 euros'),
    ('paid euros', 'paid 5.90 euros'),
    ('It was built in the year 1871', 'was built in 1871'),
    ('tow', None),
    ('?!', None),
    ('', None),
  ],
)
def test_words_are_found_where_they_stand(said, found):
  span = quotation.find(said, TEXT, 'en')
  assert (span and TEXT[slice(*span)]) == found


@pytest.mark.parametrize(
  'said, found',
  [
    ('1871年', '1871年'),
    ('港口 公司', '港口公司'),
    ('由港口建', '由某港口'),
    ('船', None),
  ],
)
def test_chinese_is_found_by_characters(said, found):
  text = '灯塔于1871年由某港口公司建成。'
  span = quotation.find(said, text, 'zh')
  assert (span and text[slice(*span)]) == found


@pytest.mark.parametrize('number', range(30))
def test_no_span_of_one_sentence_has_a_higher_f1(number):
  rng = random.Random(number)
  words = ['a', 'b', 'c', 'd', 'the', 'e-f', 'g.']
  text = ' '.join(rng.choices(words, k=9))
  said = ' '.join(rng.choices(words, k=3)) + ' zz'

  def f1(span):
    return answer_scores([[said]], [text[slice(*span)]]).metrics['f1']

  ends = [i for i in range(len(text) + 1)]
  spans = [(i, j) for i in ends for j in ends[i + 1 :] if '. ' not in text[i:j]]
  found = quotation.find(said, text, 'en')
  assert (f1(found) if found else 0) == pytest.approx(max(map(f1, spans)))
