"""BPE trained here, GPT-2's, any tokenizer.json: by the `tokenizers` library."""

import functools
import json
import pathlib

import numpy as np
import tokenizers as library

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import bpe_training, encodings
from gpt_jax.data.tokenizer import END, Tokenizer

GPT2_VOCAB_SIZE = 50257
_ENDS = (END, '</s>', '<|end_of_text|>', '<eos>', '<|im_end|>', '[SEP]')
_SPACE = '\u2581'  # SentencePiece's space marker


class LibraryTokenizer(Tokenizer):
  """A `tokenizers.Tokenizer` as our `Tokenizer`.

  `byte_lengths` is exact for byte-level models. For others a token counts the bytes of
  its surface form, the space marker as one; normalization may have changed the text.
  """

  model_file = 'tokenizer.json'

  def __init__(self, model, name, eos_token=None):
    model.encode_special_tokens = True  # as plain text: no document can end itself
    model.no_padding()
    model.no_truncation()
    self.name, self._model, self._eos_token = name, model, eos_token
    self._ids = model.get_vocab(with_added_tokens=True)
    self.vocab_size = max(self._ids.values()) + 1
    self.eos_id = None if eos_token is None else self._ids.get(eos_token)
    added = model.get_added_tokens_decoder().items()
    self.special_tokens = {token.content: i for i, token in added if token.special}
    self._is_byte_level = '"ByteLevel"' in json.dumps(
      json.loads(model.to_str())['decoder']
    )

  @functools.cached_property
  def token_bytes(self):
    pieces = [b''] * self.vocab_size  # special tokens and unused ids remain so
    to_bytes = _byte_level_bytes if self._is_byte_level else _surface_bytes
    added = self._model.get_added_tokens_decoder()
    for token, token_id in self._ids.items():
      if token_id not in added:
        pieces[token_id] = to_bytes(token)
      elif not added[token_id].special:
        pieces[token_id] = token.encode()
    return pieces

  def encode(self, text):
    return self.encode_batch([text])[0]

  def encode_batch(self, texts):
    texts = list(texts)
    try:
      found = self._model.encode_batch_fast(texts, add_special_tokens=False)
    except TypeError:  # what the library says to lone surrogates
      for text in texts:
        encodings.encode(text, 'the text')
      raise
    return [np.array(one.ids, np.int32) for one in found]

  def decode(self, ids):
    if self._is_byte_level:
      return super().decode(ids)
    return self._model.decode([int(i) for i in ids], skip_special_tokens=True)

  def _definition(self):
    return {'name': self.name, 'eos_token': self._eos_token}

  def _model_bytes(self):
    return self._model.to_str().encode()


@functools.cache
def _byte_alphabet():
  """Returns {character: byte} of byte-level BPE (GPT-2, Radford et al. 2019)."""
  # Printable Latin-1 characters are their own bytes; U+0100 and on are the others.
  plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
  others = [byte for byte in range(256) if byte not in plain]
  alphabet = {chr(byte): byte for byte in plain}
  return alphabet | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def _byte_level_bytes(token):
  alphabet = _byte_alphabet()
  if all(character in alphabet for character in token):
    return bytes(alphabet[character] for character in token)
  return token.encode()


def _surface_bytes(token):
  if len(token) == 6 and token.startswith('<0x') and token.endswith('>'):
    return bytes([int(token[3:5], 16)])  # byte fallback
  if token.startswith('##'):  # WordPiece: continues a word
    return token[2:].encode()
  return token.replace(_SPACE, ' ').encode()


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
  vocab = _first_file(folder, ('encoder.json', 'vocab.json'))
  merges = _first_file(folder, ('vocab.bpe', 'merges.txt'))
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
  path = path / 'tokenizer.json' if path.is_dir() else path
  if not path.is_file():
    raise DataError(f'tokenizer.path={str(path)!r}: no such file (a tokenizer.json).')
  try:
    model = library.Tokenizer.from_file(str(path))
  except Exception as error:  # the library raises bare Exception
    raise DataError(f'tokenizer.path={str(path)!r}: cannot be read: {error}') from error
  return LibraryTokenizer(model, 'json', _end_token(model, path.parent))


def _end_token(model, folder):
  beside = folder / 'tokenizer_config.json'
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
  return next((end for end in _ENDS if model.token_to_id(end) is not None), None)


def load(folder, definition):
  """Returns the tokenizer that `LibraryTokenizer.save` wrote into `folder`."""
  try:
    model = library.Tokenizer.from_file(str(folder / LibraryTokenizer.model_file))
  except Exception as error:  # the library raises bare Exception
    raise DataError(f'{folder}: tokenizer.json cannot be read: {error}') from error
  return LibraryTokenizer(model, definition['name'], definition['eos_token'])
