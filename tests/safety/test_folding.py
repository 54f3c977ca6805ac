"""Folded text keeps the place of every character in the original."""

import random

from gpt_jax.safety import folding


def test_full_width_and_zero_width_characters_fold():
  assert folding.NUMBERS.of('Ａ１２\u200b３\u2014４\u3000٣É') == 'a123-4 3É'
  assert folding.WORDS.of('Ｃafé Straße') == folding.WORDS.of('cafe\u0301 STRASSE')


def test_places_are_those_of_the_original():
  folded = folding.FoldedText(folding.WORDS)
  text = 'xß\u200bé1'
  for char in text:
    folded.append(char)
  assert folded.text == 'xsse\u03011'
  assert [folded.place(i) for i in range(7)] == [0, 1, 1, 3, 3, 4, 5]
  assert folded.span(1, 3) == (1, 2)
  folded.drop(3)
  assert folded.span(0, 2) == (3, 4) and folded.raw_end == 5


def test_pieces_fold_as_the_whole():
  rng = random.Random(0)
  text = ''.join(rng.choice('aB１ß\u200b我é') for _ in range(200))
  whole, pieces = folding.FoldedText(folding.WORDS), folding.FoldedText(folding.WORDS)
  whole.append(text)
  for start in range(0, 200, 7):
    pieces.append(text[start : start + 7])
  assert pieces.text == whole.text == folding.WORDS.of(text)
  places = range(len(whole.text) + 1)
  assert list(map(pieces.place, places)) == list(map(whole.place, places))
