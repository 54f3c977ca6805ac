"""Ids of a continuation: no space and no beginning of a word comes between."""

import numpy as np
import pytest

from gpt_jax.data import continuation
from gpt_jax.data.stream_decoder import StreamDecoder
from tests.data import tokenizer_zoo

WORDS = 'the fox saw the dog'


@pytest.mark.parametrize('kind', [k for k in tokenizer_zoo.KINDS if k != 'wordlevel'])
def test_context_and_continuation_decode_to_the_text(kind):
  tokenizer = tokenizer_zoo.make(kind)
  text = tokenizer.decode(tokenizer.encode(WORDS))
  for cut in range(1, len(WORDS)):
    context_ids, ids = continuation.encode_pair(tokenizer, WORDS[:cut], WORDS[cut:])
    if kind != 'word ends':  # there the ids of a part of a word say that it ends
      np.testing.assert_array_equal(context_ids, tokenizer.encode(WORDS[:cut]))
    assert len(ids) and tokenizer.decode([*context_ids, *ids]) == text, (
      WORDS[:cut], WORDS[cut:],
    )  # fmt: skip


@pytest.mark.parametrize('kind', ['llama', 'unigram', 'sentencepiece'])
def test_no_space_comes_before_the_rest_of_a_word(kind):
  tokenizer = tokenizer_zoo.make(kind)
  _, ids = continuation.encode_pair(tokenizer, 'saw the fo', 'x')
  assert tokenizer.token_bytes[ids[0]] == b'x'
  assert tokenizer.token_bytes[tokenizer.encode('x')[0]][:1] == b' '


def test_tokens_of_the_text_are_taken_where_one_ends_there():
  tokenizer = tokenizer_zoo.make('bpe')
  text_ids = tokenizer.encode(WORDS)
  context_ids, ids = continuation.encode_pair(tokenizer, 'the fox', ' saw the dog')
  np.testing.assert_array_equal([*context_ids, *ids], text_ids)
  # Byte-level tokens need no anchor: those of the continuation alone.
  _, ids = continuation.encode_pair(tokenizer, 'the do', 'g!')
  np.testing.assert_array_equal(ids, tokenizer.encode('g!'))


def test_contexts_lose_the_same_first_tokens():
  pairs = [([1, 2, 3, 4], [5]), ([1, 2, 3, 4], [5, 6, 7])]
  assert continuation.cut_contexts(pairs, 5) == [([3, 4], [5]), ([3, 4], [5, 6, 7])]
  assert continuation.cut_contexts(pairs, 2) == [([4], [5]), ([4], [5, 6, 7])]
  assert continuation.cut_contexts(pairs, 7) == pairs
  assert continuation.cut_contexts([], 3) == []


def test_an_unknown_word_is_scored_by_its_unknown_token():
  tokenizer = tokenizer_zoo.make('wordlevel')
  _, ids = continuation.encode_pair(tokenizer, 'the zzz', 'yyy')
  assert len(ids) == 1
  assert len(continuation.encode_pair(tokenizer, 'the', '')[1]) == 0


@pytest.mark.parametrize('kind', [k for k in tokenizer_zoo.KINDS if k != 'char'])
def test_a_stream_after_a_context_adds_to_its_text(kind):
  tokenizer = tokenizer_zoo.make(kind)
  ids = tokenizer.encode('the fox saw the dog. Hello 世界 the end')
  whole = tokenizer.decode(ids)
  for cut in range(1, len(ids)):
    before = tokenizer.decode(ids[:cut])
    stream = StreamDecoder(tokenizer, ids[:cut])
    pieces = [*(stream.push(i) for i in ids[cut:]), stream.finish()]
    if '\ufffd' not in before:  # a context ends with a character
      assert before + ''.join(pieces) == whole
