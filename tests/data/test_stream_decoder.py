"""Streams equal `decode` of all ids, for every kind of tokenizer and any ids."""

import numpy as np
import pytest

from gpt_jax.data.stream_decoder import StreamDecoder
from tests.data import tokenizer_zoo
from tests.data.test_tokenizer import Halves


def streamed(tokenizer, ids):
  stream = StreamDecoder(tokenizer)
  return [*(stream.push(i) for i in ids), stream.finish()]


@pytest.mark.parametrize('kind', tokenizer_zoo.KINDS)
def test_a_stream_is_the_decoded_text(kind):
  tokenizer = tokenizer_zoo.make(kind)
  rng = np.random.default_rng(0)
  text = tokenizer.encode(tokenizer_zoo.ODD if kind != 'char' else 'the fox')
  for trial in range(60):
    length = int(rng.integers(1, 24))
    start = int(rng.integers(0, len(text)))
    ids = text[start : start + length]
    if trial % 2:  # any ids, as an untrained model writes them
      ids = rng.integers(0, tokenizer.vocab_size, length)
    pieces = streamed(tokenizer, ids)
    assert ''.join(pieces) == tokenizer.decode(ids)
    # Characters of text that came out whole were not held back to the end.
    assert '\ufffd' in ''.join(pieces) or '\ufffd' not in ''.join(pieces[:-1])


def test_bytes_in_a_row_wait_for_its_end():
  tokenizer = tokenizer_zoo.make('llama')
  three = [tokenizer._ids[f'<0x{byte:02X}>'] for byte in '界'.encode()]
  unknown, x = tokenizer._ids['<unk>'], tokenizer._ids['x']
  # Special tokens are left out first, so that they end no row.
  assert streamed(tokenizer, [*three, unknown, x]) == ['', '', '', '', '界x', '']
  spoilt = [*three, unknown, three[0], x]
  assert ''.join(streamed(tokenizer, spoilt)) == tokenizer.decode(spoilt)
  assert tokenizer.decode(spoilt) == '\ufffd' * 4 + 'x'


def test_spaces_between_tokens_are_streamed():
  tokenizer = tokenizer_zoo.make('wordpiece')
  ids = tokenizer.encode('thefox the fox')
  assert ''.join(streamed(tokenizer, ids)) == tokenizer.decode(ids)
  assert 'the fox' in tokenizer.decode(ids)
  first, second, *_ = streamed(tokenizer, tokenizer.encode('the fox'))
  assert (first + second).startswith('the fox'[: len(first + second)]) and first


@pytest.mark.parametrize('kind', ['llama', 'unigram', 'wordpiece', 'nfc'])
def test_a_stream_decodes_a_few_ids_at_a_time(kind):
  tokenizer = tokenizer_zoo.make(kind)
  ids = np.tile(tokenizer.encode('the fox saw the dog. '), 20)
  seen = []

  class Counting:
    joins_bytes, may_change = False, tokenizer.may_change

    def decode(self, part):
      seen.append(len(part))
      return tokenizer.decode(part)

  assert ''.join(streamed(Counting(), ids)) == tokenizer.decode(ids)
  assert max(seen) < 12 < len(ids)


def test_a_stream_waits_for_the_second_half_of_a_character():
  stream = StreamDecoder(Halves())
  assert [stream.push(i) for i in (2, 0, 1, 3)] == ['a', '', '\u00e9', '']
  assert stream.finish() == ''


def test_half_a_character_at_the_end_becomes_u_fffd():
  stream = StreamDecoder(Halves())
  assert stream.push(2) + stream.push(0) == 'a'
  assert stream.finish() == '\ufffd'
