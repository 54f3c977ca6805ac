"""One small tokenizer of each kind that `tokenizer.json` files come in."""

import functools
import json
import os
import pathlib

import pytest
import tokenizers as library

from gpt_jax.data import bpe, sentencepieces
from gpt_jax.data.library_tokenizer import LibraryTokenizer
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer
from tests import tiny_runs

decoders, models, trainers = library.decoders, library.models, library.trainers
normalizers, parts = library.normalizers, library.pre_tokenizers

ROOT = pathlib.Path(__file__).parents[2]
ODD = (
  'Hello  World, 你好世界 naïve ﬁne café!\r\n\r\n  Two\tspaces: snake_case_name = '
  '12345678;'
  "\nIt's a\u0301 — 🙂👩‍🚀 the fox <x>  <y> end. \n"
)
LEARNED = (
  tiny_runs.words(3_000)
  + ODD * 10
  + 'the fox saw the dog. 世界你好 ' * 20
  # Runs that merge to tokens of 2, 4, 8, ...: where they begin decides all of them.
  + ('a' * 64 + ' ' * 64 + '世' * 64 + '\n' * 64 + '_' * 64) * 10
)
GPT4_PATTERN = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
  r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)


def _learned(model, trainer, pre_tokenizer, decoder=None, normalizer=None):
  made = library.Tokenizer(model)
  if normalizer is not None:
    made.normalizer = normalizer
  made.pre_tokenizer = pre_tokenizer
  made.decoder = decoder
  made.train_from_iterator([LEARNED], trainer=trainer)
  return made


def _byte_level(pre_tokenizer, **fields):
  trainer = trainers.BpeTrainer(
    vocab_size=400, initial_alphabet=parts.ByteLevel.alphabet(), show_progress=False
  )
  decoder = decoders.ByteLevel()
  return _learned(models.BPE(), trainer, pre_tokenizer, decoder, **fields)


def _gpt4():
  split = parts.Split(library.Regex(GPT4_PATTERN), 'isolated')
  to_bytes = parts.ByteLevel(add_prefix_space=False, use_regex=False)
  return _byte_level(parts.Sequence([split, to_bytes]))


def _with_added_tokens():
  made = _byte_level(parts.ByteLevel(add_prefix_space=False))
  made.add_tokens(
    [library.AddedToken('<x>', lstrip=True, rstrip=True), library.AddedToken('<y>')]
  )
  return made


def _word_piece():
  trainer = trainers.WordPieceTrainer(
    vocab_size=300, special_tokens=['[UNK]', '[SEP]'], show_progress=False
  )
  return _learned(
    models.WordPiece(unk_token='[UNK]'),
    trainer,
    parts.BertPreTokenizer(),
    decoders.WordPiece(),
    normalizer=normalizers.BertNormalizer(lowercase=True),
  )


def _word_level():
  trainer = trainers.WordLevelTrainer(
    vocab_size=60, special_tokens=['[UNK]'], show_progress=False
  )
  model = models.WordLevel(unk_token='[UNK]')
  return _learned(model, trainer, parts.Whitespace())


def _word_ends():
  trainer = trainers.BpeTrainer(
    vocab_size=300, special_tokens=['<unk>'], end_of_word_suffix='</w>',
    show_progress=False,
  )  # fmt: skip
  model = models.BPE(unk_token='<unk>', end_of_word_suffix='</w>')
  return _learned(model, trainer, parts.Whitespace(), decoders.BPEDecoder())


def _unigram():
  trainer = trainers.UnigramTrainer(
    vocab_size=300, special_tokens=['<unk>'], unk_token='<unk>', show_progress=False
  )
  normalizer = normalizers.Sequence(
    [normalizers.NFKC(), normalizers.Replace(library.Regex(' {2,}'), ' ')]
  )
  metaspace = (parts.Metaspace(), decoders.Metaspace())
  return _learned(models.Unigram(), trainer, *metaspace, normalizer=normalizer)


def _llama():
  """BPE without parts: a space in front, bytes for unknown characters."""
  pieces = [f'<0x{i:02X}>' for i in range(256)]
  trainer = trainers.BpeTrainer(
    vocab_size=600, special_tokens=['<unk>'], show_progress=False, limit_alphabet=60
  )
  learned = library.Tokenizer(models.BPE(unk_token='<unk>'))
  learned.pre_tokenizer = parts.Metaspace()
  learned.train_from_iterator([LEARNED], trainer=trainer)
  state = json.loads(learned.to_str())['model']
  vocab = dict(state['vocab'])
  for piece in pieces:
    vocab.setdefault(piece, len(vocab))
  merges = [tuple(pair) for pair in state['merges']]
  made = library.Tokenizer(
    models.BPE(vocab, merges, unk_token='<unk>', byte_fallback=True, fuse_unk=True)
  )
  made.normalizer = normalizers.Sequence(
    [normalizers.Prepend('\u2581'), normalizers.Replace(' ', '\u2581')]
  )
  made.decoder = decoders.Sequence(
    [
      decoders.Replace('\u2581', ' '),
      decoders.ByteFallback(),
      decoders.Fuse(),
      decoders.Strip(' ', 1, 0),
    ]
  )
  made.add_special_tokens(['<unk>'])
  return made


def _bpe():
  return bpe.train([LEARNED], 400)._model


LIBRARY = {
  'bpe': _bpe,
  'gpt4': _gpt4,
  'digits': lambda: _byte_level(
    parts.Sequence([parts.Digits(True), parts.ByteLevel(add_prefix_space=False)])
  ),
  'added tokens': _with_added_tokens,
  'prefix space': lambda: _byte_level(parts.ByteLevel(add_prefix_space=True)),
  'nfc': lambda: _byte_level(
    parts.ByteLevel(add_prefix_space=False), normalizer=normalizers.NFC()
  ),
  'wordpiece': _word_piece,
  'wordlevel': _word_level,
  'word ends': _word_ends,
  'unigram': _unigram,
  'llama': _llama,
}
EXACT = ('byte', 'char', 'bpe', 'gpt4', 'digits')
"""Kinds whose tokens spell the text byte by byte."""


@functools.cache
def make(kind):
  """Returns the tokenizer of a name in `KINDS`; skips where a file is needed."""
  if kind == 'byte':
    return ByteTokenizer()
  if kind == 'char':
    return CharTokenizer(set(LEARNED))
  if kind == 'sentencepiece':
    pytest.importorskip('sentencepiece')
    root = os.environ.get('GPT_JAX_DATA', ROOT.parent / 'shared' / 'data')
    if not (found := sorted(pathlib.Path(root, 'sentencepiece').glob('*.model'))):
      pytest.skip('needs the real data sets: set GPT_JAX_DATA to their folder')
    return sentencepieces.from_file(found[0])
  return LibraryTokenizer(LIBRARY[kind](), 'json')


KINDS = ['byte', 'char', *LIBRARY, 'sentencepiece']
