"""The tokenizer of a folder, and the config fields that name it."""

from gpt_jax.core.errors import CheckpointError, note_once
from gpt_jax.data import bpe
from gpt_jax.data.tokenizers import IdsTokenizer


def open_tokenizer(folder, rows):
  """Returns (tokenizer, {dotted field: value}) for a model of `rows` embeddings.

  A folder without one gives ids as text. CheckpointError for one with more ids.
  """
  if not (folder / 'tokenizer.json').is_file():
    note_once(
      f'{folder}: has no tokenizer.json; text is token ids with spaces between.'
    )
    return IdsTokenizer(rows), {'tokenizer.name': 'ids', 'tokenizer.vocab_size': rows}
  tokenizer = bpe.from_json_file(folder)
  if tokenizer.vocab_size > rows:
    raise CheckpointError(
      f'{folder}: its tokenizer has {tokenizer.vocab_size} ids, the embedding {rows}'
      ' rows; they do not belong together.'
    )
  return tokenizer, {'tokenizer.name': 'json'}
