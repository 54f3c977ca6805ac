"""The base class of all tokenizers; `tokenizers.py` builds, saves and loads them."""

import functools
import hashlib
import json
import pathlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from gpt_jax.core.errors import DataError

DEFINITION = 'definition.json'  # all of a saved tokenizer but its model file
CHAT = 'chat_template.jinja'  # how conversations are written, where it is known
END = '<|endoftext|>'


class Tokenizer:
  """Base of all tokenizers: subclasses set the fields and define `encode`."""

  name: str
  vocab_size: int
  eos_id: int | None = None
  token_bytes: list[bytes]  # UTF-8 that each id stands for; b'' for special tokens
  model_file: str | None = None
  # Whether the `byte_lengths` of the tokens of any text add up to the text's bytes.
  has_exact_bytes: bool = False
  # Name -> id of the tokens that no text is encoded as.
  special_tokens: Mapping[str, int] = MappingProxyType({})
  # In Jinja, of a pretrained model of others. It decides no id: no fingerprint has it.
  chat_template: str | None = None

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

  def encode_with_bytes(self, texts):
    """Returns (ids, int32 [n]: the bytes of the text that each accounts for) of each.

    The bytes add up to those of the text, whatever a normalizer did to it; what became
    no token goes with the next one, at the end with the last one.
    """
    encoded = zip(texts, self.encode_batch(texts), strict=True)
    return [(ids, self._fit(text, self.byte_lengths[ids])) for text, ids in encoded]

  def encode_with_offsets(self, texts):
    """Returns (ids, int32 [n, 2]: start and end in the text of each token) of each.

    They count characters, ends exclusive. Tokens that share the bytes of a character
    have all of it each. What became no token, such as a space, goes with the next one,
    or with none.
    """
    texts = list(texts)
    encoded = zip(texts, self.encode_with_bytes(texts), strict=True)
    return [(ids, character_spans(text, sizes)) for text, (ids, sizes) in encoded]

  def _fit(self, text, num_bytes):
    if self.has_exact_bytes or not len(num_bytes):
      return num_bytes
    total = len(text.encode())
    ends = np.minimum(np.cumsum(num_bytes), total)
    ends[-1] = total
    return np.diff(ends, prepend=0).astype(np.int32)

  def may_change(self, ids):
    """Returns whether the text of `ids` may become another one when more follow."""
    return False

  @property
  def joins_bytes(self):
    """Whether `decode` joins the bytes of the ids."""
    return type(self).decode is Tokenizer.decode

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
    """int32 [vocab_size]: the UTF-8 bytes of text that each token stands for.

    Where they are not exact, evaluation counts those of `encode_with_bytes`.
    """
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
    if self.chat_template:
      # Bytes: a line end is part of the template.
      (folder / CHAT).write_bytes(self.chat_template.encode())
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


def bytes_between(text, ends):
  """Returns int32 [n]: the bytes of `text` up to each end, from the one before on.

  `ends` are positions in characters, one a token; an end before an earlier one counts
  as that one, and the last is the end of the text.
  """
  ends = np.maximum.accumulate(np.asarray(ends, np.int64))
  if len(ends):
    ends[-1] = len(text)
  if not text.isascii():
    code_points = np.frombuffer(text.encode('utf-32-le'), np.uint32)
    sizes = sum((code_points >= first).astype(np.int64) for first in _LONGER_FROM)
    ends = np.concatenate([[0], np.cumsum(sizes + 1)])[ends]
  return np.diff(ends, prepend=0).astype(np.int32)


def character_spans(text, num_bytes):
  """Returns int32 [n, 2]: the characters of which consecutive parts of `text` are.

  `num_bytes`: UTF-8 bytes of each part; a part of no bytes has no characters.
  """
  ends = np.cumsum(num_bytes, dtype=np.int64)
  spans = np.stack([ends - num_bytes, ends], axis=-1)
  if not text.isascii():
    content = np.frombuffer(text.encode(), np.uint8)
    is_first = (content & 0xC0) != 0x80  # of the bytes of a character
    before = np.append(0, np.cumsum(is_first))  # characters begun before each byte
    # A part that begins within a character has it from its start on.
    starts = before[spans[:, 0]] - ~np.append(is_first, True)[spans[:, 0]]
    ends = np.where(np.asarray(num_bytes) > 0, before[ends], starts)
    spans = np.stack([starts, ends], axis=-1)
  return spans.astype(np.int32)


_LONGER_FROM = (0x80, 0x800, 0x10000)  # code points that take one byte more in UTF-8
