"""The tokenizer in the header of a GGUF file, as one of the `tokenizers` library.

Two kinds: `llama`, SentencePiece's BPE, whose merges follow from the pieces, and
`gpt2`, byte-level BPE with a list of merges, whose division of text into words has a
name.
"""

import collections
import re

import numpy as np
import tokenizers as library

from gpt_jax.core.errors import CheckpointError
from gpt_jax.core.registry import nearest
from gpt_jax.interop.tokenizer_checks import check_rows
from gpt_jax.interop.tokenizer_files import of_model, without_files
from gpt_jax.interop.tokenizer_frame import set_frame

_SPACE = '\u2581'
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)  # token_type

_BYTE_PIECE = re.compile('<0x[0-9A-F]{2}>')

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
_LLAMA3 = rf'{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}'
_QWEN2 = rf'{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}'
_UPPER, _LOWER = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]', r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'
_TEKKEN = (
  rf'[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*'
  r'|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)

PATTERNS = {
  **dict.fromkeys(['default', 'gpt-2', 'gpt2', 'olmo', 'dolma'], None),  # GPT-2's
  **dict.fromkeys(['llama3', 'llama-v3', 'llama-bpe', 'falcon3', 'smaug-bpe'], _LLAMA3),
  **dict.fromkeys(['qwen2', 'deepseek-r1-qwen'], _QWEN2),
  'tekken': _TEKKEN,
}
"""tokenizer.ggml.pre -> how text is divided before merges; names of llama.cpp."""

_WHOLE_WORDS = ('llama3', 'llama-v3', 'llama-bpe', 'falcon3', 'tekken')
"""Of these a word that is a token is taken before any merge (ignore_merges)."""
_ADDS_BEGIN = ('llama3', 'llama-v3', 'llama-bpe', 'falcon3')


def open_tokenizer(fields, path, rows):
  """Returns (tokenizer, {dotted config field: value}) of a GGUF file's fields.

  `rows` are those of the embedding. A file without one gives ids as text. Raises
  CheckpointError for a tokenizer of another kind, or one that contradicts itself or
  the embedding.
  """
  header = _Header(fields, path)
  kind = header.text('model', None if header.get('tokens') else 'none')
  if kind == 'none':
    return without_files(path, rows)
  if kind not in _MAKERS:
    raise CheckpointError(
      f'{path}: tokenizer.ggml.model={kind!r}: expected one of {", ".join(_MAKERS)}.'
    )
  tokens = header.tokens()
  kinds = header.kinds(tokens)
  model = _MAKERS[kind](header, tokens, kinds)
  model.add_special_tokens(_added(tokens, kinds, (_CONTROL, _UNKNOWN)))
  model.add_tokens(_added(tokens, kinds, (_USER,)))
  settings = {
    name: tokens[number]
    for name, key in _SPECIAL.items()
    if (number := header.special(key, len(tokens))) is not None
  }
  settings['add_bos_token'] = header.flag('add_bos_token', _adds_begin(kind, header))
  if header.flag('add_eos_token', False) and 'eos_token' in settings:
    set_frame(model, [], [settings['eos_token']])
  tokenizer, config_fields = of_model(model, settings, path)
  check_rows(tokenizer, rows, path)
  tokenizer.chat_template = header.chat_template()
  return tokenizer, config_fields


_SPECIAL = {
  'bos_token': 'bos', 'eos_token': 'eos', 'unk_token': 'unknown',
  'pad_token': 'padding', 'mask_token': 'mask',
}  # fmt: skip
"""Names of tokenizer_config.json -> those of `tokenizer.ggml.NAME_token_id`."""


class _Header:
  """Fields `tokenizer.ggml.*`, each checked as it is read."""

  def __init__(self, fields, path):
    self._fields, self._path = fields, path

  def wrong(self, name, text):
    return CheckpointError(f'{self._path}: tokenizer.ggml.{name}{text}.')

  def get(self, name):
    return self._fields.get(f'tokenizer.ggml.{name}')

  def text(self, name, default=None):
    value = self.get(name)
    value = default if value is None else value
    if not isinstance(value, str):
      raise self.wrong(name, f'={value!r}: expected a text')
    return value

  def flag(self, name, default):
    value = self.get(name)
    if value is None:
      return default
    if not isinstance(value, bool):
      raise self.wrong(name, f'={value!r}: expected true or false')
    return value

  def texts(self, name):
    value = self.get(name)
    if not isinstance(value, list):
      raise self.wrong(name, ': missing, or no list of texts')
    return value

  def chat_template(self):
    value = self._fields.get('tokenizer.chat_template')
    if not isinstance(value, str | None):
      raise CheckpointError(f'{self._path}: tokenizer.chat_template: expected a text.')
    return value

  def tokens(self):
    """Returns a new list of the tokens, each of them once."""
    tokens = list(self.texts('tokens'))
    twice = [token for token, n in collections.Counter(tokens).items() if n > 1]
    if twice or not tokens:
      raise self.wrong('tokens', f': {twice[:8]} twice' if twice else ': empty')
    return tokens

  def numbers(self, name, tokens):
    """Returns a number for each of `tokens`."""
    values = self.get(name)
    if not hasattr(values, 'tolist') or len(values) != len(tokens):
      count = (
        len(values) if isinstance(values, list) or hasattr(values, 'tolist') else 0
      )
      raise self.wrong(name, f': {count} numbers for {len(tokens)} tokens')
    if not np.isfinite(values).all():
      raise self.wrong(name, ': has numbers that are not finite')
    return values.tolist()

  def kinds(self, tokens):
    """Returns the kind of each token; all are normal where the file has none."""
    if self.get('token_type') is None:
      return [_NORMAL] * len(tokens)
    kinds = self.numbers('token_type', tokens)
    if unknown := set(kinds) - set(range(_NORMAL, _BYTE + 1)):
      raise self.wrong('token_type', f': has {sorted(unknown)[0]}; expected 1 to 6')
    return kinds

  def special(self, name, count):
    """Returns the id `NAME_token_id` of `count`, None where there is none."""
    key = f'{name}_token_id'
    number = self.get(key)
    if number is None:
      return None
    if not isinstance(number, int) or not 0 <= number < count:
      raise self.wrong(key, f'={number!r}: expected 0 to {count - 1}')
    return number


def _adds_begin(kind, header):
  """Returns whether texts begin with a token where the file does not say so."""
  return kind == 'llama' or header.text('pre', 'default') in _ADDS_BEGIN


def _sentencepiece(header, tokens, kinds):
  """Returns SentencePiece's BPE: of two neighbours the best piece is made first."""
  scores = header.numbers('scores', tokens)
  for i, kind in enumerate(kinds):
    if kind == _BYTE and not _BYTE_PIECE.fullmatch(tokens[i]):
      raise header.wrong('tokens', f': {tokens[i]!r} is said to be a byte; not <0xNN>')
    # Runs of spaces are written as such, and found as what spaces are turned into.
    if tokens[i] and not tokens[i].strip(' '):
      tokens[i] = _SPACE * len(tokens[i])
  vocab = {token: i for i, token in enumerate(tokens)}
  if len(vocab) < len(tokens):
    raise header.wrong('tokens', ': runs of spaces are there in two spellings')
  unknown = header.special('unknown', len(tokens))
  if unknown is None and _UNKNOWN in kinds:
    unknown = kinds.index(_UNKNOWN)
  made = library.Tokenizer(
    library.models.BPE(
      vocab, _merges(vocab, tokens, kinds, scores), byte_fallback=_BYTE in kinds,
      fuse_unk=True, unk_token=None if unknown is None else tokens[unknown],
    )
  )  # fmt: skip
  steps = [library.normalizers.Replace(' ', _SPACE)]
  shown = [library.decoders.Replace(_SPACE, ' '), library.decoders.ByteFallback()]
  shown.append(library.decoders.Fuse())
  if header.flag('add_space_prefix', True):  # after tokens of a user as well
    steps.insert(0, library.normalizers.Prepend(_SPACE))
    shown.append(library.decoders.Strip(' ', 1, 0))
  made.normalizer = library.normalizers.Sequence(steps)
  made.decoder = library.decoders.Sequence(shown)
  return made


def _merges(vocab, tokens, kinds, scores):
  """Returns the pairs of pieces that make a piece, the best piece first.

  Pieces of a user score alike and come as they are listed: before all learned ones.
  """
  order = sorted(
    (i for i, kind in enumerate(kinds) if kind in (_NORMAL, _USER)),
    key=lambda i: (kinds[i] != _USER, -scores[i] if kinds[i] != _USER else 0, i),
  )
  merges = []
  for i in order:
    token = tokens[i]
    merges += [
      (token[:n], token[n:])
      for n in range(len(token) - 1, 0, -1)
      if token[:n] in vocab and token[n:] in vocab
    ]
  return merges


def _byte_level(header, tokens, kinds):
  """Returns byte-level BPE, as GPT-2's, with the words that `pre` stands for."""
  del kinds
  name = header.text('pre', 'default')
  if name not in PATTERNS:
    hint = nearest(name, PATTERNS)
    text = f'={name!r}: expected one of {", ".join(PATTERNS)}'
    raise header.wrong('pre', text + (f'; the nearest is {hint!r}' if hint else ''))
  vocab = {token: i for i, token in enumerate(tokens)}
  merges = [tuple(merge.split(' ')) for merge in header.texts('merges')]
  for pair in merges:
    if len(pair) != 2 or not {*pair, ''.join(pair)} <= vocab.keys():
      raise header.wrong(
        'merges', f': {" ".join(pair)!r} is not of two tokens to a third'
      )
  bpe = library.models.BPE(vocab, merges, ignore_merges=name in _WHOLE_WORDS)
  made, parts = library.Tokenizer(bpe), library.pre_tokenizers
  made.pre_tokenizer = parts.ByteLevel(add_prefix_space=False)
  if pattern := PATTERNS[name]:
    made.pre_tokenizer = parts.Sequence(
      [
        parts.Split(library.Regex(pattern), 'isolated'),
        parts.ByteLevel(add_prefix_space=False, use_regex=False),
      ]
    )
  if pattern == _QWEN2:
    made.normalizer = library.normalizers.NFC()  # of the models, not in the file
  made.decoder = library.decoders.ByteLevel()
  return made


_MAKERS = {'llama': _sentencepiece, 'gpt2': _byte_level}


def _added(tokens, kinds, wanted):
  """Returns the tokens of some kinds, found in a text before it is divided."""
  # Runs of spaces are no text before spaces are turned into `_SPACE`: merges make them.
  pairs = zip(tokens, kinds, strict=True)
  return [
    library.AddedToken(token, normalized=False, special=_USER not in wanted)
    for token, kind in pairs
    if kind in wanted and token.strip(_SPACE)
  ]
