"""A `tokenizers.Tokenizer` of any kind as our `Tokenizer`."""

import functools
import json

import numpy as np
import tokenizers as library

from gpt_jax.data import encodings, word_table
from gpt_jax.data.tokenizer import Tokenizer, bytes_between

_SPACE = '\u2581'  # SentencePiece's space marker


class LibraryTokenizer(Tokenizer):
  """A `tokenizers.Tokenizer` as our `Tokenizer`.

  `byte_lengths` is exact for most byte-level models. For others a token counts the
  bytes of its surface form, the space marker as one.
  """

  model_file = 'tokenizer.json'

  def __init__(self, model, name, eos_token=None, special_names=None):
    """`special_names`: what others call its tokens, {'pad_token': '<pad>'}."""
    model.encode_special_tokens = True  # as plain text: no document can end itself
    model.no_padding()
    model.no_truncation()
    self.name, self._model, self._eos_token = name, model, eos_token
    self._ids = model.get_vocab(with_added_tokens=True)
    self.vocab_size = max(self._ids.values()) + 1
    self.eos_id = None if eos_token is None else self._ids.get(eos_token)
    added = model.get_added_tokens_decoder().items()
    self.special_tokens = {token.content: i for i, token in added if token.special}
    self.special_names = dict(special_names or {})
    self._special_ids = set(self.special_tokens.values())
    config = _steps_of(model)
    self._is_byte_level = (config['decoder'] or {}).get('type') == 'ByteLevel'
    # Of WordPiece: what a piece within a word begins with.
    self._continues = (config['decoder'] or {}).get('prefix', '')
    self.has_exact_bytes = self._is_byte_level and _keeps_all_bytes(config, self._ids)
    self._fits_words = word_table.fits(config)
    falls_back = '"ByteFallback"' in json.dumps(config['decoder'])
    self._byte_ids = {
      i for piece, i in self._ids.items() if falls_back and _is_byte_piece(piece)
    }

  @functools.cached_property
  def token_bytes(self):
    pieces = [b''] * self.vocab_size  # special tokens and unused ids remain so
    added = self._model.get_added_tokens_decoder()
    for token, token_id in self._ids.items():
      if token_id in added and (self._is_byte_level or added[token_id].special):
        pieces[token_id] = b'' if added[token_id].special else token.encode()
      elif self._is_byte_level:
        pieces[token_id] = _byte_level_bytes(token)
      else:
        pieces[token_id] = _surface_bytes(token, self._continues)
    return pieces

  @property
  def eos_token(self):
    """The name of the end token, None where the vocabulary has none."""
    return None if self.eos_id is None else self._eos_token

  @property
  def library_model(self):
    """The `tokenizers.Tokenizer` itself."""
    return self._model

  def encode(self, text):
    return self.encode_batch([text])[0]

  def encode_batch(self, texts):
    texts = list(texts)
    is_much = sum(map(len, texts)) >= word_table.MIN_CHARS
    if is_much and self._words is not None:
      return self._words.encode_batch(texts)
    return self._encode_whole(texts)

  def _encode_whole(self, texts):
    found = self._encodings(texts, self._model.encode_batch_fast)
    return [np.array(one.ids, np.int32) for one in found]

  @functools.cached_property
  def _words(self):
    if not self._fits_words:
      return None
    return word_table.WordTable(self._model.pre_tokenizer, self._encode_whole)

  def encode_with_bytes(self, texts):
    if self.has_exact_bytes:
      return super().encode_with_bytes(texts)
    texts = list(texts)
    found = self._encodings(texts, self._model.encode_batch)  # knows offsets
    return [
      (
        np.array(one.ids, np.int32),
        bytes_between(text, [end for _, end in one.offsets]),
      )
      for text, one in zip(texts, found, strict=True)
    ]

  def encode_with_offsets(self, texts):
    if self.has_exact_bytes:
      return super().encode_with_offsets(texts)
    return [
      (np.array(one.ids, np.int32), np.array(one.offsets, np.int32).reshape(-1, 2))
      for one in self._encodings(texts, self._model.encode_batch)
    ]

  def _encodings(self, texts, encode):
    texts = list(texts)
    try:
      return encode(texts, add_special_tokens=False)
    except TypeError:  # what the library says to lone surrogates
      for text in texts:
        encodings.encode(text, 'the text')
      raise

  def decode(self, ids):
    if self._is_byte_level:
      return super().decode(ids)
    return self._model.decode([int(i) for i in ids], skip_special_tokens=True)

  @property
  def joins_bytes(self):
    return self._is_byte_level

  def may_change(self, ids):
    # The library decodes bytes in a row together: one bad one spoils those before it.
    # Special tokens are left out before, so they end no row.
    shown = (i for i in reversed(ids) if i not in self._special_ids)
    return next(shown, None) in self._byte_ids

  def _definition(self):
    names = {'special_names': self.special_names} if self.special_names else {}
    return {'name': self.name, 'eos_token': self._eos_token} | names

  def _model_bytes(self):
    return self._model.to_str().encode()


def _steps_of(model):
  """Returns what the JSON of a tokenizer says, without its vocabulary and merges.

  Of a quarter of a million pieces, these take seconds and a third of a gigabyte.
  """
  shell = library.Tokenizer(library.models.BPE())
  for step in ('normalizer', 'pre_tokenizer', 'decoder'):
    if getattr(model, step) is not None:
      setattr(shell, step, getattr(model, step))
  kind = {
    name: getattr(model.model, name, None)
    for name in ('dropout', 'continuing_subword_prefix', 'end_of_word_suffix')
  }
  return json.loads(shell.to_str()) | {
    'model': {'type': type(model.model).__name__} | kind,
    'added_tokens': [
      {name: getattr(token, name) for name in ('special', 'lstrip', 'rstrip')}
      for token in model.get_added_tokens_decoder().values()
    ],
  }


def _keeps_all_bytes(config, vocab):
  """Returns whether the tokens of a byte-level model spell any text byte by byte."""
  model, steps = config['model'], config['pre_tokenizer'] or {}
  steps = steps.get('pretokenizers', [steps])
  return (
    config['normalizer'] is None
    and model['type'] == 'BPE'
    and not model.get('continuing_subword_prefix')
    and not model.get('end_of_word_suffix')
    and set(byte_alphabet()) <= vocab.keys()
    and [step.get('add_prefix_space') for step in steps if _is(step, 'ByteLevel')]
    == [False]
    and all(_is(step, 'ByteLevel') or _only_splits(step) for step in steps)
    and not any(
      token['lstrip'] or token['rstrip']
      for token in config['added_tokens']
      if not token['special']
    )
  )


def _is(step, kind):
  return step.get('type') == kind


def _only_splits(step):
  if _is(step, 'Digits'):
    return True
  return _is(step, 'Split') and step['behavior'] != 'Removed'


@functools.cache
def byte_alphabet():
  """Returns {character: byte} of byte-level BPE (GPT-2, Radford et al. 2019)."""
  # Printable Latin-1 characters are their own bytes; U+0100 and on are the others.
  plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
  others = [byte for byte in range(256) if byte not in plain]
  alphabet = {chr(byte): byte for byte in plain}
  return alphabet | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def _byte_level_bytes(token):
  alphabet = byte_alphabet()
  if all(character in alphabet for character in token):
    return bytes(alphabet[character] for character in token)
  return token.encode()


def _surface_bytes(token, continues):
  if _is_byte_piece(token):
    return bytes([int(token[3:5], 16)])
  if continues and token.startswith(continues):
    return token[len(continues) :].encode()
  return token.replace(_SPACE, ' ').encode()


def _is_byte_piece(token):
  """Returns whether it is a byte that no other token spells (byte fallback)."""
  return len(token) == 6 and token.startswith('<0x') and token.endswith('>')
