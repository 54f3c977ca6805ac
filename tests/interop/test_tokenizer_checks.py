"""Tokenizers whose pieces decode differently are refused with the list."""

import pytest
import tokenizers as library

from gpt_jax.core.errors import CheckpointError
from gpt_jax.data.library_tokenizer import LibraryTokenizer
from gpt_jax.interop.tokenizer_checks import check_pieces, check_rows
from tests.data import tokenizer_zoo


@pytest.mark.parametrize('kind', sorted({*tokenizer_zoo.LIBRARY} - {'word ends'}))
def test_pieces_of_usual_tokenizers_decode_to_what_they_are(kind):
  check_pieces(tokenizer_zoo.make(kind), 'x')


def test_pieces_that_decode_differently_are_listed():
  with pytest.raises(CheckpointError, match="</w>', decoded '"):
    check_pieces(tokenizer_zoo.make('word ends'), 'x')
  model = library.Tokenizer.from_str(tokenizer_zoo.make('llama').library_model.to_str())
  model.decoder = library.decoders.Sequence(
    [model.decoder, library.decoders.Replace('a', 'A')]
  )
  with pytest.raises(CheckpointError) as found:
    check_pieces(LibraryTokenizer(model, 'json'), 'folder')
  assert str(found.value).startswith('folder: ')
  assert "'a', decoded 'A'" in str(found.value)


def test_a_space_that_the_decoder_drops_is_listed():
  model = library.Tokenizer.from_str(tokenizer_zoo.make('llama').library_model.to_str())
  model.decoder = library.decoders.Replace('\u2581', '')
  with pytest.raises(CheckpointError, match="' the', decoded 'the'"):
    check_pieces(LibraryTokenizer(model, 'json'), 'x')


def test_more_ids_than_rows_are_refused_and_fewer_are_right():
  tokenizer = tokenizer_zoo.make('bpe')
  check_rows(tokenizer, tokenizer.vocab_size + 9, 'x')
  with pytest.raises(CheckpointError, match='do not belong together'):
    check_rows(tokenizer, tokenizer.vocab_size - 1, 'x')
