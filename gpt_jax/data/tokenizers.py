"""Text to token ids and back: interface, small tokenizers, building and keeping.

A tokenizer is kept in `WORKDIR/tokenizer`: `definition.json` and, where it has one, its
model file. A workdir that holds one keeps it: ids would mean something else otherwise.
"""

import codecs
import functools
import hashlib
import json
import os
import pathlib
import shutil
import uuid

import numpy as np

from gpt_jax.errors import ConfigError, DataError
from gpt_jax.registry import lookup

_DEFINITION = 'definition.json'


class Tokenizer:
  """Base of all tokenizers.

  Subclasses set `name`, `vocab_size`, `eos_id` (None: there is none) and `token_bytes`,
  the UTF-8 bytes that each id stands for (b'' for special tokens), and give `encode`
  and `_definition`.
  """

  name: str
  vocab_size: int
  eos_id: int | None = None
  token_bytes: list[bytes]

  def encode(self, text):
    """Returns int32 [n]; no special token is added, none is read from the text."""
    raise NotImplementedError

  def encode_batch(self, texts):
    """Returns the ids of each of `texts`."""
    return [self.encode(text) for text in texts]

  def decode(self, ids):
    """Returns the text of `ids`; special tokens are left out, broken UTF-8 is
    U+FFFD."""
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
    """int32 [vocab_size]: how many bytes of UTF-8 text each token stands for."""
    return np.array([len(piece) for piece in self.token_bytes], np.int32)

  @functools.cached_property
  def fingerprint(self):
    """sha256 of everything that decides which ids a text gets."""
    content = json.dumps(self._definition(), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode() + self._model_bytes()).hexdigest()

  def _definition(self):
    """Returns what `load` needs besides the model file, as plain JSON values."""
    return {'name': self.name}

  model_file: str | None = None

  def _model_bytes(self):
    """Returns the content of `model_file`, b'' where there is none."""
    return b''

  def save(self, folder, request=None):
    """Writes the tokenizer into `folder` (made if needed)."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if self.model_file:
      (folder / self.model_file).write_bytes(self._model_bytes())
    definition = {**self._definition(), 'request': request or {}}
    text = json.dumps(definition, indent=2, ensure_ascii=False)
    (folder / _DEFINITION).write_text(text, encoding='utf-8')


class StreamDecoder:
  """Text of ids that come one at a time, never half a character."""

  def __init__(self, tokenizer):
    self._tokenizer = tokenizer
    self._decoder = codecs.getincrementaldecoder('utf-8')('replace')

  def push(self, token_id):
    """Returns the characters that `token_id` completes; '' when it completes none."""
    return self._decoder.decode(self._tokenizer.bytes_of(int(token_id)))

  def finish(self):
    """Returns what is left at the end: U+FFFD for a character that never came whole."""
    return self._decoder.decode(b'', final=True)


class ByteTokenizer(Tokenizer):
  """The 256 bytes and an end token, 256."""

  name, vocab_size, eos_id = 'byte', 257, 256
  token_bytes = [bytes([i]) for i in range(256)] + [b'']

  def encode(self, text):
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


class CharTokenizer(Tokenizer):
  """The distinct characters of the corpus in code-point order, without an end token.

  Nothing else is in the vocabulary (65 for tiny Shakespeare), so losses compare with
  published character-level ones. A character that is not in it is an error: an unknown
  token would make held-out text cheaper than it is.
  """

  name = 'char'

  def __init__(self, characters):
    self.characters = ''.join(sorted(characters))
    self.vocab_size = len(self.characters)
    self.token_bytes = [character.encode() for character in self.characters]
    self._code_points = np.frombuffer(self.characters.encode('utf-32-le'), np.uint32)

  def encode(self, text):
    """Returns int32 [n]. Raises DataError naming the first unknown character."""
    code_points = np.frombuffer(text.encode('utf-32-le'), np.uint32)
    ids = np.searchsorted(self._code_points, code_points)
    known = self._code_points[np.minimum(ids, self.vocab_size - 1)] == code_points
    if not known.all():
      where = int(np.argmin(known))
      raise DataError(
        f'character {text[where]!r} (U+{ord(text[where]):04X}) at position {where} is'
        f' not among the {self.vocab_size} characters of the corpus, near'
        f' {text[max(0, where - 20) : where + 20]!r}; use tokenizer.name=byte or bpe,'
        ' which take any text.'
      )
    return ids.astype(np.int32)

  def _definition(self):
    return {'name': self.name, 'characters': self.characters}


class IdsTokenizer(Tokenizer):
  """Token ids written as decimal numbers: the view of a synthetic language.

  Ids stand for no bytes of text: `byte_lengths` are 0.
  """

  name = 'ids'

  def __init__(self, vocab_size):
    self.vocab_size = vocab_size
    self.token_bytes = [f'{i} '.encode() for i in range(vocab_size)]

  @functools.cached_property
  def byte_lengths(self):
    """int32 [vocab_size] of zeros."""
    return np.zeros(self.vocab_size, np.int32)

  def encode(self, text):
    """Returns int32 [n]. Raises DataError when `text` is not known numbers."""
    words = text.split()
    for word in words:
      if not word.isdecimal() or int(word) >= self.vocab_size:
        raise DataError(
          f'{word!r}: expected token ids from 0 to {self.vocab_size - 1} with spaces'
          ' between, for a synthetic language has no other text.'
        )
    return np.array([int(word) for word in words], np.int32)

  def _definition(self):
    return {'name': self.name, 'vocab_size': self.vocab_size}


def _make_byte(cfg, texts):
  return ByteTokenizer()


def _make_char(cfg, texts):
  characters = set()
  for text in texts():
    characters.update(text)
  if not characters:
    raise DataError('tokenizer.name="char": the corpus has no characters to learn.')
  return CharTokenizer(characters)


def _make_ids(cfg, texts):
  return IdsTokenizer(cfg.vocab_size)


def _make_bpe(cfg, texts):
  from gpt_jax.data import bpe

  return bpe.train(texts(), cfg.vocab_size)


def _make_gpt2(cfg, texts):
  from gpt_jax.data import bpe

  return bpe.from_gpt2_files(cfg.path)


def _make_json(cfg, texts):
  from gpt_jax.data import bpe

  return bpe.from_json_file(cfg.path)


def _make_sentencepiece(cfg, texts):
  from gpt_jax.data import sentencepieces

  return sentencepieces.from_file(cfg.path)


TOKENIZERS = {
  'byte': _make_byte,
  'char': _make_char,
  'ids': _make_ids,
  'bpe': _make_bpe,
  'gpt2': _make_gpt2,
  'json': _make_json,
  'sentencepiece': _make_sentencepiece,
}


def build(cfg, texts, workdir=None):
  """Returns the tokenizer that `cfg` (a TokenizerConfig) asks for.

  Args:
    texts: called without arguments; returns the texts to learn from (char, bpe).
    workdir: a tokenizer found in `workdir/tokenizer` is returned instead of a new one;
    a
      new one is put there. None: nothing is kept.
  Raises ConfigError when the one in `workdir` is not what `cfg` asks for, naming the
  fields old -> new.
  """
  make = lookup(TOKENIZERS, cfg.name, 'tokenizer.name')
  if workdir is None or cfg.name not in TOKENIZERS:
    return make(cfg, texts)  # one from outside looks after itself
  folder = pathlib.Path(workdir) / 'tokenizer'
  request = {'name': cfg.name}
  if cfg.name in ('bpe', 'ids'):
    request['vocab_size'] = cfg.vocab_size
  if not (folder / _DEFINITION).exists():
    _keep(make(cfg, texts), folder, request)
  _check_request(folder, request)
  return load(folder)


def _keep(tokenizer, folder, request):
  """Saves beside `folder` and renames, so that nobody ever reads half a tokenizer."""
  fresh = folder.with_name(f'{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}')
  tokenizer.save(fresh, request)
  try:
    fresh.rename(folder)
  except OSError:  # another process was first; its tokenizer was learned from the same
    shutil.rmtree(fresh)
    if not (folder / _DEFINITION).exists():
      raise


def _check_request(folder, request):
  kept = _read_definition(folder).get('request', {})
  changed = [
    f'tokenizer.{key}: {kept[key]!r} -> {request[key]!r}'
    for key in request
    if key in kept and kept[key] != request[key]
  ]
  if changed:
    raise ConfigError(
      f'{folder} holds a tokenizer that differs from the config: {"; ".join(changed)}.'
      ' Set the old value, or use a new workdir.'
    )


def _read_definition(folder):
  try:
    return json.loads((folder / _DEFINITION).read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise DataError(f'{folder / _DEFINITION} cannot be read: {error}') from error


def load(folder):
  """Returns the tokenizer saved in `folder`, or that of a `tokenizer.json` there.

  Raises DataError when there is none or it is damaged.
  """
  folder = pathlib.Path(folder)
  if not (folder / _DEFINITION).exists() and (folder / 'tokenizer.json').exists():
    from gpt_jax.data import bpe

    return bpe.from_json_file(folder / 'tokenizer.json')
  definition = _read_definition(folder)
  if definition.get('name') not in _LOADERS:
    raise DataError(
      f'{folder / _DEFINITION}: name={definition.get("name")!r}, expected one of'
      f' {", ".join(sorted(_LOADERS))}.'
    )
  return _LOADERS[definition['name']](folder, definition)


def _load_library(folder, definition):
  from gpt_jax.data import bpe

  return bpe.load(folder, definition)


def _load_sentencepiece(folder, definition):
  from gpt_jax.data import sentencepieces

  return sentencepieces.load(folder)


_LOADERS = {
  'byte': lambda folder, definition: ByteTokenizer(),
  'char': lambda folder, definition: CharTokenizer(definition['characters']),
  'ids': lambda folder, definition: IdsTokenizer(definition['vocab_size']),
  'bpe': _load_library,
  'gpt2': _load_library,
  'json': _load_library,
  'sentencepiece': _load_sentencepiece,
}
