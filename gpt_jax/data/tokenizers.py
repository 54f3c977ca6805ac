"""Tokenizers by name: the small ones; building, saving and loading of all.

`WORKDIR/tokenizer` holds `definition.json` and, where there is one, the model file. It
is written once: under another tokenizer the ids of a run would mean something else.
"""

import functools
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import uuid

import numpy as np

from gpt_jax.core.errors import ConfigError, DataError, StorageError
from gpt_jax.core.registry import lookup
from gpt_jax.data import bpe, bpe_training, encodings, sentencepieces
from gpt_jax.data.tokenizer import CHAT, DEFINITION, END, Tokenizer, known_size
from gpt_jax.storage import mirror, objects
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote


class ByteTokenizer(Tokenizer):
  """The 256 bytes and an end token, 256."""

  name, vocab_size, eos_id = 'byte', 257, 256
  has_exact_bytes = True
  token_bytes = [bytes([i]) for i in range(256)] + [b'']
  special_tokens = {END: 256}

  def encode(self, text):
    content = encodings.encode(text, 'the text')
    return np.frombuffer(content, np.uint8).astype(np.int32)


class CharTokenizer(Tokenizer):
  """The distinct characters of the corpus in code-point order, without an end token."""

  name = 'char'
  has_exact_bytes = True

  def __init__(self, characters):
    self.characters = ''.join(sorted(characters))
    self.vocab_size = len(self.characters)
    self.token_bytes = [character.encode() for character in self.characters]
    self._code_points = np.frombuffer(self.characters.encode('utf-32-le'), np.uint32)

  def encode(self, text):
    # An unknown character is an error: an unknown token would make held-out text
    # cheaper than it is, and losses would not compare with published ones.
    encodings.encode(text, 'the text')
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
  """Ids of a synthetic language, shown as decimal numbers; they stand for no text."""

  name = 'ids'
  has_exact_bytes = True  # of no text

  def __init__(self, vocab_size):
    self.vocab_size = vocab_size
    self.token_bytes = [f'{i} '.encode() for i in range(vocab_size)]

  @functools.cached_property
  def byte_lengths(self):
    return np.zeros(self.vocab_size, np.int32)

  def encode(self, text):
    words = text.split()
    for word in words:
      if not word.isdecimal() or int(word) >= self.vocab_size:
        raise DataError(
          f'{word!r}: expected token ids from 0 to {self.vocab_size - 1} with spaces'
          ' between, as a synthetic language has no other text.'
        )
    return np.array([int(word) for word in words], np.int32)

  def _definition(self):
    return {'name': self.name, 'vocab_size': self.vocab_size}


def _make_char(cfg, texts):
  characters = set()
  for text in texts():
    characters.update(text)
  if not characters:
    raise DataError('tokenizer.name="char": the corpus has no characters to learn.')
  return CharTokenizer(characters)


def _of_path(load, needed, names=None):
  """`names`: the files that it takes of a folder, or of that of a file."""

  def make(cfg, texts):
    """Returns the tokenizer in `tokenizer.path`."""
    if not cfg.path:
      raise ConfigError(
        f'tokenizer.path is empty: tokenizer.name={cfg.name!r} needs {needed}.'
      )
    try:
      with mirror.copied(cfg.path, names) as path:
        try:
          return load(path)
        except DataError as error:  # of the copy; its name says nothing
          text = str(error).replace(str(path), str(cfg.path))
          raise DataError(text) from error
    except FileNotFoundError as error:
      raise DataError(
        f'tokenizer.path={cfg.path!r}: nothing is there; expected {needed}.'
      ) from error

  return make


_size_of_config = known_size(lambda cfg: cfg.vocab_size)

TOKENIZERS = {
  'byte': known_size(lambda cfg: ByteTokenizer.vocab_size)(
    lambda cfg, texts: ByteTokenizer()
  ),
  'char': _make_char,
  'ids': _size_of_config(lambda cfg, texts: IdsTokenizer(cfg.vocab_size)),
  'bpe': _size_of_config(lambda cfg, texts: bpe.train(texts(), cfg.vocab_size)),
  'gpt2': known_size(lambda cfg: bpe.GPT2_VOCAB_SIZE)(
    _of_path(
      bpe.from_gpt2_files,
      'the folder of encoder.json and vocab.bpe',
      (*bpe.VOCABULARIES, *bpe.MERGES),
    )
  ),
  'json': _of_path(bpe.from_json_file, 'a tokenizer.json', bpe.JSON_FILES),
  'sentencepiece': _of_path(sentencepieces.from_file, 'a SentencePiece .model'),
}


LEARNED = ('bpe', 'char')
"""Names of tokenizers whose content comes from the texts."""


def build(cfg, texts, workdir=None, inherited=None, shared=None, prepared=()):
  """Returns the tokenizer in `workdir/tokenizer`; else a new one, saved there.

  `texts() -> iterable` gives the texts to train on (char, bpe). Without a workdir
  nothing is saved. `inherited`: another run's, or its folder, taken instead of a new
  one. `prepared`: the folders of those that corpora were prepared under, taken so too.
  `shared`: a folder where runs that learn from the same texts keep what they learned; a
  run takes it from there. Raises ConfigError when the saved one is not what
  `cfg` asks for, StorageError when `shared` cannot be written.
  """
  make = lookup(TOKENIZERS, cfg.name, 'tokenizer.name')
  request = {'name': cfg.name}
  if cfg.name in ('bpe', 'ids'):
    request['vocab_size'] = cfg.vocab_size
  if workdir is None or cfg.name not in TOKENIZERS:
    if prepared and cfg.name in TOKENIZERS:
      return _of_corpora(prepared, cfg, request)
    made = make(cfg, texts)  # not saved: _LOADERS knows no plug-in
    if not isinstance(made, Tokenizer):
      raise ConfigError(
        f'tokenizer.name={cfg.name!r}: returns a {type(made).__name__}; derive that'
        ' class from gpt_jax.data.tokenizer.Tokenizer.'
      )
    return made
  folder = place(workdir) / 'tokenizer'
  if not (folder / DEFINITION).exists():
    made = _inherit(inherited, cfg, request)
    if made is None and prepared:
      made = _of_corpora(prepared, cfg, request)
    if made is None and shared is not None and cfg.name in LEARNED:
      made = _learn_once(shared, lambda: make(cfg, texts), request)
    made = made or make(cfg, texts)
    _save_once(made, folder, request)
  _check_request(folder, request)
  return load(folder)


def learning_key(cfg, fingerprints):
  """Returns a hash of all that decides what is learned from sources' texts."""
  described = [cfg.name, cfg.vocab_size, bpe_training.fingerprint(), *fingerprints]
  return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]


def _learn_once(folder, learn, request):
  """Returns the tokenizer kept in `folder`, learned now where there is none."""
  folder = pathlib.Path(folder)
  if not (folder / DEFINITION).exists():
    made = learn()
    try:
      _save_once(made, folder, request | {'fingerprint': made.fingerprint})
    except OSError as error:
      raise StorageError(
        f'data.cache_dir: cannot write {folder}: {error.strerror}; set it to a folder'
        ' that can be written and has free space.'
      ) from error
  found = load(folder)
  if _read_definition(folder)['request'].get('fingerprint') != found.fingerprint:
    raise DataError(
      f'{folder}: not as written. It is a copy: delete it, and the next start learns it'
      ' again.'
    )
  return found


def _save_once(tokenizer, folder, request):
  # Beside `folder`, then renamed, so that no process reads half a tokenizer; in a
  # bucket, which renames nothing, with its definition last.
  if is_remote(folder):
    with tempfile.TemporaryDirectory(prefix='gpt_jax_') as scratch:
      tokenizer.save(pathlib.Path(scratch), request)
      objects.upload(scratch, folder, last=DEFINITION)
    return
  fresh = folder.with_name(f'{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}')
  tokenizer.save(fresh, request)
  try:
    fresh.rename(folder)
  except OSError:  # another process was first; its tokenizer is the same
    shutil.rmtree(fresh)
    if not (folder / DEFINITION).exists():
      raise


def _inherit(folder, cfg, request):
  """Returns the tokenizer in another run's `folder`, None where there is none."""
  if folder is None:
    return None
  if isinstance(folder, Tokenizer):  # of a pretrained model of others
    return _of_model(folder, cfg)
  is_there = folder.exists() if is_remote(folder) else os.path.exists(folder)
  if not is_there:  # or the name is too long for one
    return None
  found = load(folder)
  advice = (
    ' That is the tokenizer of init_from, or of distill.teacher, whose parameters mean'
    ' nothing under other ids: set its values. What is taken from init_from may have'
    ' others: set init.tokenizer to "new" and settle by init.rules what depends on ids:'
    ' {"fresh": "embed/embedding"}.'
  )
  if (folder / DEFINITION).exists():
    _check_request(folder, request, advice)
  if cfg.path and TOKENIZERS[cfg.name](cfg, tuple).fingerprint != found.fingerprint:
    raise ConfigError(
      f'tokenizer.path={cfg.path!r}: another tokenizer than {folder}, which comes with'
      ' init_from. Leave the path empty, or set init.tokenizer to "new".'
    )
  return found


def _of_model(tokenizer, cfg):
  """Returns `tokenizer`, which comes with init_from, if it is what `cfg` asks for."""
  asked = TOKENIZERS[cfg.name](cfg, tuple) if cfg.path or cfg.name == 'ids' else None
  is_other = asked is not None and asked.fingerprint != tokenizer.fingerprint
  if is_other or cfg.name != tokenizer.name:
    raise ConfigError(
      f'tokenizer.name={cfg.name!r}, path={cfg.path!r}: the model of init_from has'
      f' another tokenizer, and its parameters mean nothing under other ids. Set'
      f' tokenizer.name={tokenizer.name!r} and leave the path empty, or set'
      ' init.tokenizer to "new".'
    )
  return tokenizer


def _of_corpora(folders, cfg, request):
  """Returns the tokenizer of corpora, which is in each of `folders`."""
  found = load(folders[0])
  advice = ' It is that of a prepared corpus: set its values, or prepare it again.'
  _check_request(folders[0], request, advice)
  if cfg.path and TOKENIZERS[cfg.name](cfg, tuple).fingerprint != found.fingerprint:
    raise ConfigError(
      f'tokenizer.path={cfg.path!r}: another tokenizer than {folders[0]}, under which'
      ' the corpus was prepared. Leave the path empty, or prepare the corpus again.'
    )
  return found


_ADVICE = ' Set the old value, or use a new workdir; of prepare, another --out.'


def _check_request(folder, request, advice=_ADVICE):
  definition = _read_definition(folder)
  saved = {'name': definition.get('name')} | definition.get('request', {})
  changed = [
    f'tokenizer.{key}: {saved[key]!r} -> {request[key]!r}'
    for key in request
    if key in saved and saved[key] != request[key]
  ]
  if changed:
    raise ConfigError(
      f'{folder} holds a tokenizer that differs from the config: {"; ".join(changed)}.'
      + advice
    )


def _read_definition(folder):
  try:
    return json.loads((folder / DEFINITION).read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise DataError(f'{folder / DEFINITION} cannot be read: {error}') from error


def load(folder):
  """Returns the tokenizer saved in `folder`, or that of a lone `tokenizer.json`."""
  if is_remote(folder):
    with mirror.copied(folder) as local:
      return load(local)
  folder = pathlib.Path(folder)
  if not (folder / DEFINITION).exists() and (folder / 'tokenizer.json').exists():
    return bpe.from_json_file(folder / 'tokenizer.json')
  definition = _read_definition(folder)
  if definition.get('name') not in _LOADERS:
    raise DataError(
      f'{folder / DEFINITION}: name={definition.get("name")!r}, expected one of'
      f' {", ".join(sorted(_LOADERS))}.'
    )
  tokenizer = _LOADERS[definition['name']](folder, definition)
  if (folder / CHAT).exists():
    tokenizer.chat_template = (folder / CHAT).read_bytes().decode()
  return tokenizer


_LOADERS = {
  'byte': lambda folder, definition: ByteTokenizer(),
  'char': lambda folder, definition: CharTokenizer(definition['characters']),
  'ids': lambda folder, definition: IdsTokenizer(definition['vocab_size']),
  'bpe': bpe.load,
  'gpt2': bpe.load,
  'json': bpe.load,
  'sentencepiece': lambda folder, definition: sentencepieces.load(folder),
}
