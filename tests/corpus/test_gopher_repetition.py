"""Shares of repetition against a count with sets of characters."""

import collections

import pytest

from gpt_jax.corpus import gopher_repetition, words
from tests.corpus import texts


def counted(found, n):
  """Returns (share in the top n-gram, in n-grams seen before) of a list of words."""
  grams = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
  sizes = [len(word) for word in found]
  counts = collections.Counter(grams)
  most = max(counts.values(), default=0)
  top = 0
  if most > 1:
    longest = max(
      (g for g in counts if counts[g] == most), key=lambda g: len(''.join(g))
    )
    places = {i + k for i, g in enumerate(grams) if g == longest for k in range(n)}
    top = sum(sizes[place] for place in places)
  seen, places = set(), set()
  for i, gram in enumerate(grams):
    places |= {i + k for k in range(n)} if gram in seen else set()
    seen.add(gram)
  repeated = sum(sizes[place] for place in places)
  return top / sum(sizes), repeated / sum(sizes)


@pytest.mark.parametrize(
  'text',
  [
    'a a a a b a a a a c a a a a',
    texts.prose(0, 80) + ' ' + texts.prose(1, 30) + ' ' + texts.prose(0, 40),
    'one two three ' * 9,
    'no word comes twice here',
  ],
)
def test_shares_are_those_that_sets_count(text):
  shares = dict(gopher_repetition.shares(text, words.WordHashes()))
  found = text.split()
  for n in (2, 3, 4):
    assert shares[f'top_{n}gram'] == pytest.approx(counted(found, n)[0])
  for n in range(5, 11):
    assert shares[f'duplicate_{n}grams'] == pytest.approx(counted(found, n)[1])


def test_lines_and_paragraphs_count_where_they_stand_earlier():
  text = 'aa\nbbbb\n\naa\nbbbb\n \ncc\naa'
  shares = dict(gopher_repetition.shares(text, words.WordHashes()))
  assert shares['duplicate_lines'] == pytest.approx(3 / 6)
  assert shares['duplicate_line_chars'] == pytest.approx(8 / 16)
  assert shares['duplicate_paragraphs'] == pytest.approx(1 / 3)
  assert shares['duplicate_paragraph_chars'] == pytest.approx(7 / 19)


@pytest.mark.parametrize(
  'text, reason',
  [
    (texts.prose(0, 200), None),
    ('x y\n' * 3 + texts.prose(0, 200), 'duplicate lines'),
    ('spam and eggs ' * 5 + texts.prose(0, 45), 'one 3-gram again and again'),
    (texts.prose(0, 200) + ' ' + texts.prose(0, 100), 'duplicate 5-grams'),
    ('', None),
  ],
)
def test_the_first_share_above_its_limit_is_the_reason(text, reason):
  step = gopher_repetition.make(gopher_repetition.Options(), None)
  assert step.keep(texts.document(text)) == reason


def test_a_limit_of_one_switches_a_measure_off():
  text = texts.prose(0, 200) + ' ' + texts.prose(0, 100)
  off = {f'duplicate_{n}grams': 1.0 for n in range(5, 11)}
  step = gopher_repetition.make(gopher_repetition.Options(**off), None)
  assert step.keep(texts.document(text)) is None
