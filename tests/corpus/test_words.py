"""Words, their hashes, and what n-grams cover."""

import hashlib

import numpy as np
import pytest

from gpt_jax.corpus import words


@pytest.mark.parametrize(
  'text, expected',
  [
    ("The cat's 2nd hat -- THE hat!", ['the', 'cat', 's', '2nd', 'hat', 'the', 'hat']),
    ('ﬁne Ｆｉｎｅ', ['fine', 'fine']),  # NFKC: a ligature, full-width letters
    ('红楼梦 is 红', ['红', '楼', '梦', 'is', '红']),
    ('カタカナ', list('カタカナ')),
    ('Straße größer', ['straße', 'größer']),
    (' ,.\n', []),
  ],
)
def test_words_leave_out_case_and_punctuation(text, expected):
  assert words.words(text) == expected


def test_hashes_are_those_of_the_bytes_of_a_word():
  expected = int.from_bytes(hashlib.blake2b(b'hat', digest_size=8).digest(), 'little')
  assert words.WordHashes()(['hat', 'cat', 'hat']).tolist()[::2] == [expected] * 2


def test_ngrams_are_equal_where_their_words_are():
  hashes = words.WordHashes()(list('abcabcacb'))
  grams = words.ngrams(hashes, 3)
  assert len(grams) == 7
  assert [i for i in range(7) if grams[i] == grams[0]] == [0, 3]
  assert len(set(grams.tolist())) == 5  # abc, bca, cab, cac, acb
  assert len(words.ngrams(hashes, 10)) == 0


def test_blocks_join_to_all_words(monkeypatch):
  monkeypatch.setattr(words, '_BLOCK', 4)
  text = 'a b c d e f g h i'
  assert list(words.blocks(text, 2)) == [
    ['a', 'b', 'c', 'd'], ['c', 'd', 'e', 'f', 'g', 'h'], ['g', 'h', 'i'],
  ]  # fmt: skip
  assert list(words.blocks('a b c d', 2)) == [['a', 'b', 'c', 'd']]
  assert list(words.blocks('...', 2)) == []


def test_covered_words_are_those_of_any_ngram():
  expected = [False, True, True, True, False, False, True, True]
  assert words.covered(np.array([1, 2, 6]), 2, 8).tolist() == expected
  assert not words.covered(np.array([], int), 3, 4).any()
