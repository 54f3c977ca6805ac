"""BPE trained here, GPT-2's, any tokenizer.json: by the `tokenizers` library."""

import json
import pathlib

import tokenizers as library

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import bpe_training
from gpt_jax.data.library_tokenizer import LibraryTokenizer
from gpt_jax.data.tokenizer import END

GPT2_VOCAB_SIZE = 50257
VOCABULARIES, MERGES = ('encoder.json', 'vocab.json'), ('vocab.bpe', 'merges.txt')
"""The files of GPT-2's tokenizer, by OpenAI's names and by Hugging Face's."""
JSON_FILES = ('tokenizer.json', 'tokenizer_config.json')
_ENDS = (END, '</s>', '<|end_of_text|>', '<eos>', '<|im_end|>', '[SEP]')


def train(texts, vocab_size):
  """Returns a byte-level BPE of at most `vocab_size` tokens, trained on `texts`.

  Parts that no space or punctuation divides are learned from in parts of 64 characters
  (`bpe_training.py`).
  """
  if vocab_size < 257:
    raise ConfigError(
      f'tokenizer.vocab_size={vocab_size}: byte-level BPE needs at least 257 (the 256'
      ' bytes and the end token); or use tokenizer.name=byte.'
    )
  model = bpe_training.learn(texts, vocab_size, [END])
  return LibraryTokenizer(_as_byte_level(model), 'bpe', END)


def _as_byte_level(model):
  model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
  model.decoder = library.decoders.ByteLevel()
  return model


def from_gpt2_files(folder):
  """Returns GPT-2's tokenizer from the encoder.json and vocab.bpe in `folder`."""
  folder = pathlib.Path(folder)
  vocab, merges = _first_file(folder, VOCABULARIES), _first_file(folder, MERGES)
  try:
    bpe = library.models.BPE.from_file(str(vocab), str(merges))
  except Exception as error:  # the library raises bare Exception
    raise DataError(
      f'tokenizer.path={str(folder)!r}: cannot be read: {error}'
    ) from error
  model = _as_byte_level(library.Tokenizer(bpe))
  model.add_special_tokens([END])
  return LibraryTokenizer(model, 'gpt2', END)


def _first_file(folder, names):
  for name in names:
    if (folder / name).is_file():
      return folder / name
  raise DataError(
    f'tokenizer.path={str(folder)!r}: expected a folder with {" or ".join(names)}.'
  )


def from_json_file(path):
  """Returns the tokenizer of a `tokenizer.json`, or of a folder that holds one.

  The end token is the `eos_token` of a tokenizer_config.json beside it, else the first
  of the usual names that is in the vocabulary, else None.
  """
  path = pathlib.Path(path)
  path = path / JSON_FILES[0] if path.is_dir() else path
  if not path.is_file():
    raise DataError(f'tokenizer.path={str(path)!r}: no such file (a tokenizer.json).')
  try:
    model = library.Tokenizer.from_file(str(path))
  except Exception as error:  # the library raises bare Exception
    raise DataError(f'tokenizer.path={str(path)!r}: cannot be read: {error}') from error
  return LibraryTokenizer(model, 'json', _end_token(model, path.parent))


def _end_token(model, folder):
  beside = folder / JSON_FILES[1]
  if beside.is_file():
    try:
      named = json.loads(beside.read_text(encoding='utf-8')).get('eos_token')
      named = named['content'] if isinstance(named, dict) else named
    except (ValueError, AttributeError, KeyError, RecursionError) as error:
      raise DataError(
        f'{beside}: cannot be read ({error!r}); expected a JSON object with an'
        ' eos_token, or no such file.'
      ) from error
    if named is not None:
      return named
  return usual_end(model)


def usual_end(model):
  """Returns the first usual name of an end token that a model has, else None."""
  return next((end for end in _ENDS if model.token_to_id(end) is not None), None)


def load(folder, definition):
  """Returns the tokenizer that `LibraryTokenizer.save` wrote into `folder`."""
  try:
    model = library.Tokenizer.from_file(str(folder / LibraryTokenizer.model_file))
  except Exception as error:  # the library raises bare Exception
    raise DataError(f'{folder}: tokenizer.json cannot be read: {error}') from error
  return LibraryTokenizer(
    model,
    definition['name'],
    definition['eos_token'],
    definition.get('special_names'),
  )
