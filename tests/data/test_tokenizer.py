"""The base class of tokenizers: bytes, fingerprints, files, streaming."""

import json

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.data.tokenizer import DEFINITION, Tokenizer


class Halves(Tokenizer):
  """The two halves of one character, a letter, and an end token."""

  name, vocab_size, eos_id = 'halves', 4, 3
  token_bytes = ['\u00e9'.encode()[:1], '\u00e9'.encode()[1:], b'a', b'']
  model_file = 'halves.bin'

  def __init__(self, model=b'model', note=''):
    self.model, self.note = model, note

  def encode(self, text):
    pieces = {'\u00e9': [0, 1], 'a': [2]}
    return np.array([i for character in text for i in pieces[character]], np.int32)

  def _definition(self):
    return {'name': self.name, 'note': self.note}

  def _model_bytes(self):
    return self.model


def test_decoding_joins_the_bytes_of_the_ids():
  tokenizer = Halves()
  assert tokenizer.decode(tokenizer.encode('a\u00e9a')) == 'a\u00e9a'
  assert tokenizer.decode([2, 0, 3, 2]) == 'a\ufffda'
  assert [ids.tolist() for ids in tokenizer.encode_batch(['a', ''])] == [[2], []]


def test_each_token_counts_its_bytes():
  assert Halves().byte_lengths.tolist() == [1, 1, 1, 0]
  assert Halves().byte_lengths.dtype == np.int32


@pytest.mark.parametrize('token_id', [-1, 4])
def test_an_id_outside_the_vocabulary_is_refused(token_id):
  with pytest.raises(DataError, match=rf'token id {token_id}.*halves.*\(0..3\)'):
    Halves().bytes_of(token_id)


def test_the_fingerprint_depends_on_all_that_decides_the_ids():
  prints = {
    Halves().fingerprint,
    Halves(model=b'other').fingerprint,
    Halves(note='other').fingerprint,
  }
  assert len(prints) == 3 and Halves().fingerprint in prints


def test_it_is_saved_as_a_definition_and_a_model_file(tmp_path):
  Halves(note='n').save(tmp_path / 'new' / 'folder', request={'name': 'halves'})
  folder = tmp_path / 'new' / 'folder'
  assert json.loads((folder / DEFINITION).read_text()) == {
    'name': 'halves',
    'note': 'n',
    'request': {'name': 'halves'},
  }
  assert (folder / 'halves.bin').read_bytes() == b'model'
