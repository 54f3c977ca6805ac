"""The base class of all tokenizers; `tokenizers.py` builds, saves and loads them."""

import codecs
import functools
import hashlib
import json
import pathlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from gpt_jax.core.errors import DataError

DEFINITION = 'definition.json'  # all of a saved tokenizer but its model file
END = '<|endoftext|>'


class Tokenizer:
  """Base of all tokenizers: subclasses set the fields and define `encode`."""

  name: str
  vocab_size: int
  eos_id: int | None = None
  token_bytes: list[bytes]  # UTF-8 that each id stands for; b'' for special tokens
  model_file: str | None = None
  # Name -> id of the tokens that no text is encoded as.
  special_tokens: Mapping[str, int] = MappingProxyType({})

  def special_id(self, name):
    """Returns the id of a special token. Raises DataError for an unknown name."""
    if name not in self.special_tokens:
      raise DataError(
        f'special token {name!r}: the {self.name} tokenizer has'
        f' {", ".join(sorted(self.special_tokens)) or "none"}.'
      )
    return self.special_tokens[name]

  def encode(self, text):
    """Returns int32 [n], without special tokens, whatever the text looks like."""
    raise NotImplementedError

  def encode_batch(self, texts):
    return [self.encode(text) for text in texts]

  def decode(self, ids):
    """Returns the text of `ids`; special tokens are left out, bad UTF-8 is U+FFFD."""
    return b''.join(self.bytes_of(i) for i in ids).decode('utf-8', 'replace')

  def bytes_of(self, token_id):
    """Returns the bytes of one id. Raises DataError for an unknown id."""
    if not 0 <= token_id < self.vocab_size:
      raise DataError(
        f'token id {token_id}: outside the vocabulary of the {self.name} tokenizer'
        f' (0..{self.vocab_size - 1}).'
      )
    return self.token_bytes[token_id]

  @functools.cached_property
  def byte_lengths(self):
    """int32 [vocab_size]: the UTF-8 bytes of text that each token stands for."""
    return np.array([len(piece) for piece in self.token_bytes], np.int32)

  @functools.cached_property
  def fingerprint(self):
    """sha256 of all that decides which ids a text gets."""
    content = json.dumps(self._definition(), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode() + self._model_bytes()).hexdigest()

  def _definition(self):
    """Returns what `load` needs besides the model file, as plain JSON values."""
    return {'name': self.name}

  def _model_bytes(self):
    """Returns the content of `model_file`, b'' where there is none."""
    return b''

  def save(self, folder, request=None):
    """Writes the tokenizer into `folder`; `request`: the config it was built for."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if self.model_file:
      (folder / self.model_file).write_bytes(self._model_bytes())
    definition = {**self._definition(), 'request': request or {}}
    text = json.dumps(definition, indent=2, ensure_ascii=False)
    (folder / DEFINITION).write_text(text, encoding='utf-8')


def known_size(size):
  """Decorates the factory of a tokenizer or source: `size(cfg)` ids, nothing read.

  `gpt-jax plan` takes the vocabulary from there; without it the user gives a number.
  """

  def mark(make):
    make.vocab_size = size
    return make

  return mark


class StreamDecoder:
  """Decodes ids one at a time into whole characters."""

  def __init__(self, tokenizer):
    self._tokenizer = tokenizer
    self._decoder = codecs.getincrementaldecoder('utf-8')('replace')

  def push(self, token_id):
    """Returns the characters that `token_id` completes, perhaps ''."""
    return self._decoder.decode(self._tokenizer.bytes_of(int(token_id)))

  def finish(self):
    """Returns what is left at the end: U+FFFD for an incomplete character."""
    return self._decoder.decode(b'', final=True)
