"""Ids by words: the same as the library's for any text, any division into batches."""

import random

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.data import bpe, key_table, word_splits, word_table
from tests.data import tokenizer_zoo

PARTS = (
  *"abdA'stremvl  \n\t\r12!?.,-_",
  *('é', '中', '😀', '\u00a0', '\u3000', '\u2028', '٣', '²', '\u0301', '\x1c', '\x85'),
  *(
    "''",
    "'s",
    "'re",
    "'ll",
    "'LL",
    '  ',
    'क',
    'ी',
    'ß',
    'the ',
    ' internationalization',
  ),
)


def random_texts(rng, count):
  return [
    ''.join(rng.choices(PARTS, k=rng.choice([0, 1, 2, 9, 40]))) for _ in range(count)
  ]


@pytest.fixture(scope='module')
def tokenizer():
  rng = random.Random(0)
  return bpe.train(random_texts(rng, 200), 400)


@pytest.fixture
def small(monkeypatch):
  """Makes every text one for the table, however long its words are."""
  monkeypatch.setattr(word_table, 'MIN_CHARS', 0)
  monkeypatch.setattr(word_table, '_MAX_LONG_SHARE', 1.0)
  monkeypatch.setattr(word_table, '_TABLE_BITS', 12)


def fresh(tokenizer):
  return word_table.WordTable(tokenizer._model.pre_tokenizer, tokenizer._encode_whole)


@pytest.mark.parametrize('max_words', [0, 20, 1 << 11])
@pytest.mark.parametrize('batch', [1, 60, 1 << 20])
def test_ids_by_words_are_those_of_the_library(
  tokenizer, small, monkeypatch, max_words, batch
):
  monkeypatch.setattr(word_table, '_MAX_WORDS', max_words)
  monkeypatch.setattr(word_table, '_BATCH_CHARS', batch)
  words, rng = fresh(tokenizer), random.Random(batch + max_words)
  for _ in range(12):
    texts = random_texts(rng, 10)
    found, wanted = words.encode_batch(texts), tokenizer._encode_whole(texts)
    for text, one, other in zip(texts, found, wanted, strict=True):
      assert one.tolist() == other.tolist(), repr(text)


def test_words_are_those_of_the_pattern(tokenizer):
  pre_tokenizer = tokenizer._model.pre_tokenizer
  splitter, rng = word_splits.WordSplitter(pre_tokenizer), random.Random(1)
  for text in random_texts(rng, 300):
    points = np.frombuffer(text.encode('utf-32-le'), np.uint32)
    if len(points):
      starts = splitter.starts(points, np.array([len(points)]))
      pieces = pre_tokenizer.pre_tokenize_str(text)
      assert starts.tolist() == [start for _, (start, _) in pieces], repr(text)


def test_texts_side_by_side_do_not_touch(tokenizer, small):
  texts = ["it'", 's', ' ', ' a', '\n', '', "'", 'll', '12', '34', '']
  found = fresh(tokenizer).encode_batch(texts)
  assert [ids.tolist() for ids in found] == [
    ids.tolist() for ids in tokenizer._encode_whole(texts)
  ]


def test_a_zero_byte_or_half_a_character_goes_to_the_library(tokenizer, small):
  (found,) = fresh(tokenizer).encode_batch(['a\0b \0\0'])
  assert found.tolist() == tokenizer.encode('a\0b \0\0').tolist()
  with pytest.raises(DataError, match='half a character'):
    tokenizer.encode_batch(['a\ud83d'])


@pytest.mark.parametrize('kind', sorted(tokenizer_zoo.LIBRARY))
def test_only_gpt2s_pattern_has_a_table(kind, monkeypatch):
  monkeypatch.setattr(word_table, 'MIN_CHARS', 0)
  tokenizer = tokenizer_zoo.make(kind)
  assert (tokenizer._words is not None) == (kind == 'bpe')
  texts = [tokenizer_zoo.ODD, 'the fox', '<x>', '[SEP] <unk> <|endoftext|>']
  wanted = [ids.tolist() for ids in tokenizer._encode_whole(texts)]
  assert [ids.tolist() for ids in tokenizer.encode_batch(texts)] == wanted


def test_keys_are_found_in_a_crowded_table():
  table, rng = key_table.KeyTable(9), np.random.default_rng(0)
  keys = rng.integers(0, 20, (2, 2000)).astype(np.uint64)
  firsts, inverse = key_table.distinct(*keys)
  assert len(firsts) == len({tuple(key) for key in keys.T})
  np.testing.assert_array_equal(keys[:, firsts][:, inverse], keys)
  assert (table.find(*keys) == -1).all()
  new = keys[:, firsts]
  half = new.shape[1] // 2
  table.insert(*new[:, :half], np.arange(half))
  table.insert(*new[:, half:], np.arange(half, new.shape[1]))
  np.testing.assert_array_equal(table.find(*keys), inverse)
  assert (table.find(keys[0] + np.uint64(99), keys[1]) == -1).all()
