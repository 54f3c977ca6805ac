"""Edits of texts: identities at rate 0, what stays, what a rate means."""

import collections

import numpy as np
import pytest

from gpt_jax.augmentation import word_edits
from gpt_jax.augmentation.synonym_table import SynonymTable

TABLE = SynonymTable(
  {'good': ('fine', 'nice'), 'film': ('movie',), '很好': ('不错', '棒'), '好': ('佳',)}
)
TEXTS = [
  'A good film.', ' two  spaces\nand "Good" lines\t', '这部电影很好，我喜欢。',
  '我爱 JAX 2', '', ' \n', 'one', '好',
]  # fmt: skip


def rng(seed=0):
  return np.random.default_rng(seed)


def edited(name, text, rate, seed=0):
  units, rest = word_edits.split(text)
  return word_edits.join(word_edits.EDITS[name](units, rate, rng(seed), TABLE), rest)


def bag(text):
  return collections.Counter(unit.text for unit in word_edits.split(text)[0])


@pytest.mark.parametrize('text', TEXTS)
def test_units_make_the_text_again(text):
  assert word_edits.join(*word_edits.split(text)) == text


def test_chinese_is_read_by_characters_and_the_rest_by_words():
  units, _ = word_edits.split('我爱 JAX2，a b')
  assert [unit.text for unit in units] == ['我', '爱', 'JAX2', '，', 'a', 'b']


@pytest.mark.parametrize('text', TEXTS)
@pytest.mark.parametrize('name', word_edits.EDITS)
def test_rate_0_returns_the_text(name, text):
  for seed in range(20):
    assert edited(name, text, 0.0, seed) == text


@pytest.mark.parametrize('text', TEXTS)
@pytest.mark.parametrize('rate', [0.1, 0.5, 1.0])
def test_deletions_leave_words_of_the_text(text, rate):
  for seed in range(20):
    shorter = edited('delete', text, rate, seed)
    assert bool(shorter.strip()) == bool(text.strip())
    assert bag(shorter) <= bag(text)


@pytest.mark.parametrize('text', TEXTS)
def test_swaps_keep_all_words_and_spaces(text):
  for seed in range(20):
    other = edited('swap', text, 0.5, seed)
    assert bag(other) == bag(text)
    if text.isascii():  # between characters and words there was no space
      spaces = [unit.space for unit in word_edits.split(text)[0]]
      assert [unit.space for unit in word_edits.split(other)[0]] == spaces
  assert len({edited('swap', 'a b c d e f', 0.5, seed) for seed in range(9)}) > 3


@pytest.mark.parametrize('text', TEXTS)
def test_insertions_keep_the_text_and_add_synonyms(text):
  words = {unit for known in TABLE.synonyms.values() for word in known for unit in word}
  words |= {'fine', 'nice', 'movie', 'Fine', 'Nice'}
  for seed in range(20):
    longer = edited('insert', text, 0.5, seed)
    assert bag(text) <= bag(longer)
    assert set(bag(longer) - bag(text)) <= words


def test_synonyms_keep_case_and_punctuation():
  found = {edited('synonyms', 'A "Good" FILM, good.', 1.0, seed) for seed in range(30)}
  assert found == {
    f'A "{a}" Movie, {b}.' for a in ('Fine', 'Nice') for b in ('fine', 'nice')
  }


def test_the_longest_word_of_characters_is_replaced():
  found = {edited('synonyms', '很好看，好', 1.0, seed) for seed in range(20)}
  assert found == {'不错看，佳', '棒看，佳'}


@pytest.mark.parametrize('name', ['synonyms', 'delete'])
def test_a_rate_is_the_share_of_words(name):
  text = ' '.join(['good'] * 4000)
  kept = bag(edited(name, text, 0.2))['good'] / 4000
  assert kept == pytest.approx(0.8, abs=0.02)  # three standard deviations


def test_counts_have_the_mean_that_a_rate_says():
  draw = rng()
  counts = [word_edits.count(0.1, 7, draw) for _ in range(4000)]
  assert set(counts) == {0, 1}
  assert np.mean(counts) == pytest.approx(0.7, abs=0.025)
  assert word_edits.count(0.1, 100, draw) == 10
