"""Pieces of a text join to the text, whatever its characters and ends."""

import pytest

from gpt_jax.data.tokenizers import ByteTokenizer, IdsTokenizer
from gpt_jax.inference.pieces import Pieces

BYTES = ByteTokenizer()


def shown(text, **options):
  pieces = Pieces(BYTES, **options)
  found = [pieces.push(i) for i in BYTES.encode(text)]
  return [*found, pieces.finish()]


@pytest.mark.parametrize('text', ['', 'abc', 'aπ€b', 'a\n\nb'])
def test_pieces_join_to_the_text(text):
  assert ''.join(shown(text)) == text


def test_nothing_of_a_stop_string_is_shown():
  assert shown('abcdef', stop=('cd',)) == ['a', 'b', '', '', '', '', '']
  assert ''.join(shown('abc', stop=('cd',))) == 'abc'


def test_numbers_stand_apart_from_the_prompt():
  pieces = Pieces(IdsTokenizer(20), prompt='3 4')
  assert pieces.push(5) + pieces.push(6) + pieces.finish() == ' 5 6 '
