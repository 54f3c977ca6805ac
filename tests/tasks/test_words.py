"""Pieces of words: spaces between them, and words that become none."""

import pytest

from gpt_jax.data import bpe
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer
from gpt_jax.tasks.words import WordPieces, space_between
from tests.tasks.wordpieces import wordpiece

WORDS = ['The', 'rain', 'in', 'Spain', '.']


@pytest.mark.parametrize(
  'tokenizer', [ByteTokenizer(), CharTokenizer(set(' '.join(WORDS)))]
)
def test_words_together_are_the_text(tokenizer):
  ids = [i for pieces in WordPieces(tokenizer).of(WORDS) for i in pieces]
  assert tokenizer.decode(ids) == ' '.join(WORDS)


def test_words_have_the_ids_of_running_text():
  tokenizer = bpe.train(['the rain in spain stays mainly in the plain ' * 9], 300)
  words = 'rain in the plain'.split()
  ids = [i for pieces in WordPieces(tokenizer).of(words) for i in pieces]
  assert ids == tokenizer.encode(' '.join(words)).tolist()


def test_words_of_wordpiece_are_its_words():
  tokenizer = wordpiece('rain', 'fall', '##s')
  pieces = WordPieces(tokenizer).of(['Rain', 'falls', 'zzz'])
  shown = [[tokenizer.piece(i) for i in ids] for ids in pieces]
  assert shown == [['rain'], ['fall', '##s'], ['[UNK]']]


def test_a_word_of_no_piece_gets_a_stand_in():
  tokenizer = wordpiece('rain')
  for word in ('\u200b', '\x00'):
    assert len(tokenizer.encode(word)) == 0
    ((first,), (inner,), _) = WordPieces(tokenizer).of([word, word, 'rain'])
    assert tokenizer.piece(first) == tokenizer.piece(inner) == '[UNK]'


def test_a_vocabulary_without_an_unknown_piece_has_a_stand_in():
  (stand_in,) = WordPieces(ByteTokenizer()).stand_in
  assert stand_in == ord('?')
  (stand_in,) = WordPieces(CharTokenizer('ab')).stand_in
  assert stand_in == 0


def test_chinese_words_have_nothing_between():
  assert space_between(['中', '国', '2', '0']) == ''
  assert space_between(['Rain', 'in', '中']) == ' '
  tokenizer = ByteTokenizer()
  pieces = WordPieces(tokenizer).of(['中', '国'], between='')
  assert [tokenizer.decode(ids) for ids in pieces] == ['中', '国']
