"""The bytes of the text that tokens account for, whatever a tokenizer does to it."""

import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.data import pipeline
from gpt_jax.data.library_tokenizer import LibraryTokenizer
from gpt_jax.data.tokenizer import bytes_between, character_spans
from tests.data import tokenizer_zoo

TEXTS = [
  tokenizer_zoo.ODD, 'the fox', ' the  fox ', 'thefox\n', '世界', '🙂👩‍🚀',
  '<x> <y> <x>',
  'UPPER lower ＦＵＬＬ ﬁ e\u0301', '[SEP] <unk> </s> <|endoftext|>', '\u2581 \u2581',
]  # fmt: skip


@pytest.mark.parametrize('kind', tokenizer_zoo.KINDS)
def test_bytes_of_tokens_add_up_to_the_text(kind):
  tokenizer = tokenizer_zoo.make(kind)
  texts = [text for text in TEXTS if kind != 'char' or set(text) <= set('the fox')]
  encoded = tokenizer.encode_with_bytes(texts)
  for text, (ids, num_bytes) in zip(texts, encoded, strict=True):
    np.testing.assert_array_equal(ids, tokenizer.encode(text))
    assert ids.dtype == num_bytes.dtype == np.int32 and (num_bytes >= 0).all()
    assert num_bytes.sum() == (len(text.encode()) if len(ids) else 0)
    if tokenizer.has_exact_bytes:
      np.testing.assert_array_equal(num_bytes, tokenizer.byte_lengths[ids])
  assert tokenizer.has_exact_bytes == (kind in tokenizer_zoo.EXACT)


def test_what_becomes_no_token_goes_with_the_next():
  tokenizer = tokenizer_zoo.make('wordlevel')
  ((ids, num_bytes),) = tokenizer.encode_with_bytes(['  the   fox '])
  assert len(ids) == 2 and num_bytes.tolist() == [5, 7]
  ((_, num_bytes),) = tokenizer.encode_with_bytes(['   '])
  assert len(num_bytes) == 0


def test_bytes_lie_between_the_ends_of_tokens():
  assert bytes_between('aé世🙂b', [1, 2, 2, 3, 4]).tolist() == [1, 2, 0, 3, 5]
  assert bytes_between('abc', [2, 1, 3]).tolist() == [2, 0, 1]
  assert bytes_between('abc', []).tolist() == []


@pytest.mark.parametrize('kind', tokenizer_zoo.KINDS)
def test_offsets_of_a_word_are_those_of_its_tokens(kind):
  tokenizer = tokenizer_zoo.make(kind)
  text = 'the fox saw the dog'
  ((ids, spans),) = tokenizer.encode_with_offsets([text])
  np.testing.assert_array_equal(ids, tokenizer.encode(text))
  assert spans.dtype == np.int32 and spans.shape == (len(ids), 2)
  assert (np.diff(spans, axis=0) >= 0).all() and (spans[:, 0] <= spans[:, 1]).all()
  (touching,) = np.nonzero((spans[:, 0] < 7) & (spans[:, 1] > 4))
  first, last = spans[touching[0], 0], spans[touching[-1], 1]
  assert text[first:last].strip() == 'fox'


@pytest.mark.parametrize('kind', tokenizer_zoo.EXACT)
def test_offsets_have_the_bytes_of_each_token(kind):
  tokenizer = tokenizer_zoo.make(kind)
  texts = TEXTS if kind != 'char' else ['the fox']
  for text, (ids, spans) in zip(
    texts, tokenizer.encode_with_offsets(texts), strict=True
  ):
    place = 0
    for token_id, (start, end) in zip(ids, spans, strict=True):
      piece = tokenizer.bytes_of(token_id)
      before = len(text[:start].encode())
      assert text[start:end].encode()[place - before :][: len(piece)] == piece
      place += len(piece)
      # No character more than those which the token has a byte of.
      assert before <= place - len(piece) < before + len(text[start].encode())
      assert len(text[:end].encode()) - place < len(text[end - 1].encode())


def test_parts_of_a_character_have_all_of_it():
  spans = character_spans('aé世b', [1, 1, 1, 2, 1, 0, 1])
  expected = [[0, 1], [1, 2], [1, 2], [2, 3], [2, 3], [3, 3], [3, 4]]
  assert spans.tolist() == expected
  assert character_spans('abc', [2, 0, 1]).tolist() == [[0, 2], [2, 2], [2, 3]]
  assert character_spans('', []).shape == (0, 2)


@pytest.mark.parametrize('kind', tokenizer_zoo.LIBRARY)
def test_decoding_is_that_of_the_library(kind):
  tokenizer = tokenizer_zoo.make(kind)
  assert isinstance(tokenizer, LibraryTokenizer)
  rng = np.random.default_rng(0)
  for _ in range(50):
    ids = rng.integers(0, tokenizer.vocab_size, 12).tolist()
    assert tokenizer.decode(ids) == tokenizer._model.decode(ids)


@pytest.fixture(params=['wordpiece', 'llama', 'bpe'])
def opened(request, tmp_path):
  """Returns (open(**data fields), documents) of a folder under a tokenizer.json."""
  texts = [f'{tokenizer_zoo.ODD} the Fox {i}' for i in range(9)]
  texts += ['a' * 300, '  The  END ']
  for i, text in enumerate(texts):
    (tmp_path / f'{i:02}.txt').write_text(text, encoding='utf-8', newline='')
  tokenizer_zoo.make(request.param)._model.save(str(tmp_path / 'tokenizer.json'))
  fields = {
    'data.source': 'text', 'data.path': str(tmp_path), 'data.split': 'all',
    'data.seq_len': 16, 'tokenizer.name': 'json', 'tokenizer.path': str(tmp_path),
  }  # fmt: skip

  def open_it(for_eval=True, **more):
    more = {f'data.{name}': value for name, value in more.items()}
    config = load.resolve(base.get_config(), fields | more)
    tokenizer = pipeline.open_tokenizer(config.tokenizer, config.data)
    dataset = pipeline.open_dataset(
      config.data, tokenizer, seed=0, cache_dir=tmp_path / 'cache', for_eval=for_eval
    )
    return dataset, tokenizer

  return open_it, texts


@pytest.mark.parametrize('packing', ['concat', 'windows', 'first_fit', 'pad'])
def test_evaluation_counts_the_bytes_of_the_documents(opened, packing):
  open_it, texts = opened
  dataset, tokenizer = open_it(packing=packing)
  total = 0
  for n in range(len(dataset)):
    sample = dataset.sample(n)
    is_target = (sample['segments'][1:] == sample['segments'][:-1]) | (
      packing in ('concat', 'windows')
    )
    counted = (
      tokenizer.byte_lengths[sample['tokens']]
      if tokenizer.has_exact_bytes
      else sample['bytes']
    )
    is_target &= sample['segments'][1:] > 0
    total += int(counted[1:][is_target].sum())
  # All but the first token of each text that is packed apart is a target.
  apart = [''.join(texts)] if packing in ('concat', 'windows') else texts
  firsts = tokenizer.encode_with_bytes(apart)
  expected = sum(len(text.encode()) for text in texts)
  assert total == expected - sum(int(num_bytes[0]) for _, num_bytes in firsts)
  assert ('bytes' in dataset.fields) == (not tokenizer.has_exact_bytes)


def test_training_reads_no_bytes(opened):
  dataset, _ = opened[0](for_eval=False)
  assert 'bytes' not in dataset.sample(0) and 'bytes' not in dataset.fields
