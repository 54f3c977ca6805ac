"""N-grams of evaluation texts are found where a search of tuples finds them."""

import random

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.corpus import eval_ngrams, words


def searched(text, texts, size):
  """Returns the words of `text`, as numbers, in n-grams that one of `texts` has."""
  grams = set()
  for each in texts:
    found = each.split()
    grams |= {tuple(found[i : i + size]) for i in range(len(found) - size + 1)}
  found = text.split()
  return {
    i + k
    for i in range(len(found) - size + 1)
    if tuple(found[i : i + size]) in grams
    for k in range(size)
  }


@pytest.mark.parametrize('block', [7, 1 << 18])
def test_stretches_are_those_that_a_search_finds(block, monkeypatch):
  rng = random.Random(0)
  texts = [' '.join(rng.choices('abc', k=30)) for _ in range(3)]
  text = ' '.join(rng.choices('abc', k=200))
  expected = searched(text, texts, 5)
  assert 20 < len(expected) < 180
  made = eval_ngrams.EvalNgrams({'one': texts[:2], 'two': texts[2:]}, 5, 5)
  monkeypatch.setattr(words, '_BLOCK', block)
  found, name, count = made.find(text)
  assert {i for start, end in found for i in range(start, end)} == expected
  assert found == sorted(found) and name in ('one', 'two') and count == 200


def test_short_texts_are_looked_for_as_a_whole():
  made = eval_ngrams.EvalNgrams({'quiz': ['a b c', 'd e', 'f', '']}, 4, 2)
  assert vars(made.counts['quiz']) == {'texts': 4, 'too_short': 2, 'ngrams': 2}
  assert made.find('x d e a b c f') == ([(1, 6)], 'quiz', 7)
  assert made.find('a b x c f d') == ([], None, 6)


def test_sets_that_do_not_fit_into_memory_are_refused(monkeypatch):
  monkeypatch.setattr(eval_ngrams, 'MAX_NGRAMS', 5)
  with pytest.raises(DataError, match='sets=web: .* over 5 n-grams'):
    eval_ngrams.EvalNgrams({'web': ['a b c d', 'e f g h']}, 2, 2)


def test_stretches_that_touch_are_joined():
  assert eval_ngrams.joined([(0, 3), (3, 4), (6, 9), (7, 8)]) == [(0, 4), (6, 9)]
