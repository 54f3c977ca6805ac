"""Words of a list are found whole, in every way to write them."""

import random

import pytest

from gpt_jax.safety import folding, word_list
from gpt_jax.safety.span_filter import SpanFilter
from gpt_jax.safety.word_list import WordDetector, WordList


def filtered(words, pieces):
  one = SpanFilter([WordDetector(WordList(words), 'rule', 'redact', '#')])
  return ''.join(map(one.feed, pieces)) + one.finish(), one.counts


@pytest.mark.parametrize(
  'words, text, shown',
  [
    (['ass'], 'class assets ass, Ass!', 'class assets #, #!'),
    (['pipe bomb'], 'a PIPE  bomb, pipe\nbombs', 'a #, pipe\nbombs'),
    (['straße'], 'STRASSE', '#'),
    (['cafe'], 'cafe café cafe\u0301', '# café cafe\u0301'),
    (['ｂａｄ'], 'b\u200bad', '#'),
    (['赌博'], '网上赌博网站', '网上#网站'),
    (['赌博', '上赌博网'], '网上赌博网站', '网#站'),
    (['fun'], '很fun的', '很#的'),
    (['c++'], 'c++ c+++', '# #+'),
    (['고양이'], '고양이가', '#가'),
    (['a b', 'b c'], 'a b c', '#'),
  ],
)
def test_words_are_found_whole(words, text, shown):
  assert filtered(words, text)[0] == shown
  assert filtered(words, [text])[0] == shown


@pytest.mark.parametrize('seed', range(3))
def test_every_word_is_found_in_any_pieces(seed):
  rng = random.Random(seed)
  for _ in range(200):
    words = [
      ''.join(rng.choice('abA我你é ') for _ in range(rng.randint(1, 4)))
      for _ in range(4)
    ]
    text = ''.join(rng.choice('abA我你 \néÉ\u200b-') for _ in range(rng.randint(0, 14)))
    whole, found = folding.FoldedText(folding.WORDS), WordList(words)
    whole.append(text)
    left = set(range(len(text)))
    for word in found.words:
      for start in range(len(whole.text) - len(word) + 1):
        if whole.text.startswith(word, start) and _stands_alone(
          whole.text, start, word
        ):
          left -= set(range(*whole.span(start, start + len(word))))
    expected = ''.join(text[i] for i in sorted(left))
    shown, counts = filtered(words, text)
    assert shown.replace('#', '') == expected, (words, text)
    assert (shown, counts) == filtered(words, [text])


def _stands_alone(text, start, word):
  is_letter, end = word_list._is_letter, start + len(word)
  is_cut_before = start > 0 and is_letter(text[start - 1]) and is_letter(text[start])
  is_cut_after = end < len(text) and is_letter(text[end - 1]) and is_letter(text[end])
  return not (is_cut_before or is_cut_after)


def test_only_the_beginning_of_a_word_is_held_back():
  one = SpanFilter([WordDetector(WordList(['bad', '赌博']), 'rule', 'redact', '#')])
  shown = [one.feed(char) for char in 'a rebab ba 赌赢']
  assert shown[:8] == ['a', ' ', 'r', 'e', 'b', 'a', 'b', ' ']
  assert shown[8:] == ['', '', 'ba ', '', '赌赢']
