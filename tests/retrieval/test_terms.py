"""Terms of English and Chinese texts."""

import pytest

from gpt_jax.retrieval import terms


def test_stop_words_and_plurals_are_left_out():
  assert terms.terms('The Parcels of our Cities') == ['parcel', 'city']


def test_a_question_of_stop_words_keeps_them():
  assert terms.terms('Who are you?') == ['who', 'are', 'you']


def test_chinese_has_characters_and_pairs():
  assert terms.terms('付款，方式') == ['付', '款', '付款', '方', '式', '方式']


def test_width_and_case_of_letters_make_no_difference():
  assert terms.terms('ＬＥＤ ９W') == terms.terms('led 9w')


@pytest.mark.parametrize(
  'plural, singular',
  [('policies', 'policy'), ('lamps', 'lamp'), ('boxes', 'boxe'), ('glass', 'glass'),
   ('bus', 'bus'), ('trees', 'tree'), ('is', 'is')],
)  # fmt: skip
def test_the_s_stemmer_follows_its_three_rules(plural, singular):
  assert terms.singular(plural) == singular


def test_length_counts_words_and_han_characters():
  assert terms.count('two words, 三个字') == 5
