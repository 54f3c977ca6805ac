"""Special tokens around a text: what is told to the library is found in it."""

import pytest
import tokenizers as library

from gpt_jax.interop.tokenizer_frame import frame_of, set_frame
from tests.data import tokenizer_zoo


@pytest.mark.parametrize(
  'prefix, suffix', [([], []), (['[UNK]'], []), (['[UNK]'], ['[SEP]']), ([], ['[SEP]'])]
)
def test_a_frame_is_found_as_it_was_set(prefix, suffix):
  model = library.Tokenizer.from_str(
    tokenizer_zoo.make('wordpiece').library_model.to_str()
  )
  set_frame(model, prefix, suffix)
  assert frame_of(model) == (prefix, suffix)
  plain = model.encode('the fox', add_special_tokens=False).tokens
  assert model.encode('the fox').tokens == [*prefix, *plain, *suffix]
  assert model.encode('the', 'fox').tokens[-len(suffix) or None :] == (
    suffix or model.encode('the', 'fox').tokens
  )
