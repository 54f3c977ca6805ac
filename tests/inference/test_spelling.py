"""Which tokens spell some bytes, and what a token leaves unfinished."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer, IdsTokenizer
from gpt_jax.inference.spelling import Spelling, missing_bytes

PIECES = [b'', b'a', b'b', b'ab', b'abc', 'é'.encode(), b'a', b'\xc3']


def test_bytes_are_spelled_by_the_longest_tokens_of_lowest_id():
  spelling = Spelling(PIECES)
  assert spelling.ids(b'abcaab') == [4, 1, 3]
  assert spelling.ids('éa'.encode()) == [5, 1]
  assert spelling.ids(b'ax') is None
  assert spelling.ids(b'') == []
  assert list(spelling.beginnings(b'abx')) == [(3, 2), (1, 1)]


def test_atoms_are_tokens_of_one_byte_or_character():
  assert sorted(i for i, _ in Spelling(PIECES).atoms) == [1, 2, 5, 7]


@pytest.mark.parametrize(
  'content, missing',
  [
    (b'', 0),
    (b'a', 0),
    (b'\xc3', 1),
    (b'\xe2\x82', 1),
    (b'\xf0\x9f', 2),
    (b'a\xf0', 3),
  ],
)
def test_a_character_may_miss_its_last_bytes(content, missing):
  assert missing_bytes(content) == missing
  np.testing.assert_array_equal(Spelling([content]).missing_V, [missing])


def test_a_vocabulary_of_characters_writes_no_others():
  assert Spelling.of(CharTokenizer('ab')).character_class == '[\\x{61}\\x{62}]'
  assert Spelling.of(ByteTokenizer()).character_class == '[\\s\\S]'


def test_a_tokenizer_that_puts_spaces_between_is_refused(wordpiece):
  with pytest.raises(ConfigError, match='puts spaces between tokens'):
    Spelling.of(wordpiece)
  Spelling.of(IdsTokenizer(10))  # of no text; nothing can be asked of it


@pytest.fixture
def wordpiece():
  import tokenizers

  from gpt_jax.data.library_tokenizer import LibraryTokenizer

  vocab = {piece: i for i, piece in enumerate(['[UNK]', 'a', *'{":[],}', '1', 'true'])}
  model = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token='[UNK]'))
  model.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
  model.decoder = tokenizers.decoders.WordPiece()
  return LibraryTokenizer(model, 'json')
