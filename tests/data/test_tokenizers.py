"""Tokenizers: round trips, bytes per token, training, saving, streaming, refusals."""

import dataclasses

import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import tokenizers
from gpt_jax.data.stream_decoder import StreamDecoder

TEXTS = [
  'Hello world, 你好 — naïve café!\n\n  Two  spaces,\ttabs; <|endoftext|> and 🙂👩‍🚀.',
  'the cat sat on the mat. the cat ate the rat that sat on the mat. ' * 20,
]


def config(name, **fields):
  named = {f'tokenizer.{key}': value for key, value in fields.items()}
  return load.resolve(base.get_config(), {'tokenizer.name': name} | named).tokenizer


def build(name, workdir=None, texts=TEXTS, **fields):
  return tokenizers.build(config(name, **fields), lambda: iter(texts), workdir)


@pytest.fixture(params=['byte', 'char', 'bpe', 'json'])
def tokenizer(request, tmp_path):
  if request.param == 'json':
    build('bpe', tmp_path, vocab_size=300)
    return build('json', path=str(tmp_path / 'tokenizer' / 'tokenizer.json'))
  return build(request.param, vocab_size=300)


def test_decoding_inverts_encoding_and_bytes_are_counted(tokenizer):
  for text, ids in zip(TEXTS, tokenizer.encode_batch(TEXTS), strict=True):
    assert ids.dtype == np.int32 and ids.max() < tokenizer.vocab_size
    np.testing.assert_array_equal(ids, tokenizer.encode(text))
    assert tokenizer.decode(ids) == text
    assert tokenizer.byte_lengths[ids].sum() == len(text.encode())
  assert tokenizer.byte_lengths.shape == (tokenizer.vocab_size,)
  assert len(tokenizer.encode('')) == 0


def test_text_that_looks_like_the_end_token_is_plain_text(tokenizer):
  assert tokenizer.eos_id not in tokenizer.encode('<|endoftext|>')
  if tokenizer.eos_id is not None:
    assert tokenizer.byte_lengths[tokenizer.eos_id] == 0
    assert tokenizer.decode([tokenizer.eos_id]) == ''


def test_half_a_character_is_refused(tokenizer):
  with pytest.raises(DataError, match=r'not UTF-8 \(0xE9\) at position 3'):
    tokenizer.encode('caf\udce9')


def test_streams_never_show_half_a_character(tokenizer):
  stream = StreamDecoder(tokenizer)
  shown = [stream.push(token) for token in tokenizer.encode(TEXTS[0])]
  assert '\ufffd' not in ''.join(shown)
  assert ''.join(shown) + stream.finish() == TEXTS[0]


def test_a_saved_tokenizer_loads_unchanged(tokenizer, tmp_path):
  tokenizer.save(tmp_path / 'saved')
  loaded = tokenizers.load(tmp_path / 'saved')
  assert loaded.fingerprint == tokenizer.fingerprint
  assert (loaded.name, loaded.vocab_size, loaded.eos_id) == (
    tokenizer.name,
    tokenizer.vocab_size,
    tokenizer.eos_id,
  )
  np.testing.assert_array_equal(loaded.encode(TEXTS[0]), tokenizer.encode(TEXTS[0]))
  np.testing.assert_array_equal(loaded.byte_lengths, tokenizer.byte_lengths)


def test_ids_outside_the_vocabulary_are_refused(tokenizer):
  with pytest.raises(DataError, match='outside the vocabulary'):
    tokenizer.decode([tokenizer.vocab_size])


def test_byte_and_char_vocabularies():
  byte, char = build('byte'), build('char', texts=['cab', 'bad'])
  assert (byte.vocab_size, byte.eos_id) == (257, 256)
  assert byte.encode('aé').tolist() == [97, 0xC3, 0xA9]
  assert (char.vocab_size, char.eos_id) == (4, None)
  assert char.encode('dabc').tolist() == [3, 0, 1, 2]


def test_an_unknown_character_is_named_with_its_position():
  with pytest.raises(DataError, match=r"'ß' \(U\+00DF\) at position 3.*tokenizer.name"):
    build('char', texts=['abc']).encode('abcß')


def test_bpe_trains_the_requested_vocabulary_and_shortens_text():
  tokenizer = build('bpe', vocab_size=300)
  assert tokenizer.vocab_size == 300
  assert len(tokenizer.encode(TEXTS[1])) < len(TEXTS[1]) / 2
  assert build('bpe', vocab_size=300).fingerprint == tokenizer.fingerprint
  with pytest.raises(ConfigError, match='tokenizer.vocab_size=256.*at least 257'):
    build('bpe', vocab_size=256)


def test_a_workdir_returns_its_saved_tokenizer(tmp_path):
  first = build('bpe', tmp_path, vocab_size=300)
  again = build('bpe', tmp_path, texts=['other words entirely'], vocab_size=300)
  assert again.fingerprint == first.fingerprint
  assert [p.name for p in tmp_path.iterdir()] == ['tokenizer']  # no half-made ones
  with pytest.raises(ConfigError, match='tokenizer.vocab_size: 300 -> 400'):
    build('bpe', tmp_path, vocab_size=400)
  with pytest.raises(ConfigError, match="tokenizer.name: 'bpe' -> 'byte'"):
    build('byte', tmp_path)


def test_ids_are_shown_as_numbers():
  tokenizer = build('ids', vocab_size=12)
  assert tokenizer.decode([3, 11, 0]) == '3 11 0 '
  assert tokenizer.encode('3 11 0').tolist() == [3, 11, 0]
  assert not tokenizer.byte_lengths.any()
  with pytest.raises(DataError, match="'12'.*0 to 11"):
    tokenizer.encode('12')


def test_a_wordpiece_json_counts_bytes_and_finds_its_eos_token(tmp_path):
  import tokenizers as library

  vocab = {'[UNK]': 0, '[SEP]': 1, 'play': 2, '##ing': 3}
  model = library.Tokenizer(library.models.WordPiece(vocab, unk_token='[UNK]'))
  model.pre_tokenizer = library.pre_tokenizers.Whitespace()
  model.decoder = library.decoders.WordPiece()
  model.add_special_tokens(['[UNK]', '[SEP]'])
  model.save(str(tmp_path / 'tokenizer.json'))
  tokenizer = build('json', path=str(tmp_path))
  assert tokenizer.encode('playing').tolist() == [2, 3]
  assert tokenizer.decode([2, 3, 1]) == 'playing'
  assert tokenizer.byte_lengths.tolist() == [0, 0, 4, 3] and tokenizer.eos_id == 1
  (tmp_path / 'tokenizer_config.json').write_text('{"eos_token": "play"}')
  assert build('json', path=str(tmp_path)).eos_id == 2


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('gpt2', 'encoder.json or vocab.json'),
    ('json', 'no such file'),
    ('sentencepiece', 'no such file'),
  ],
)
def test_a_missing_file_is_named(name, message, tmp_path):
  with pytest.raises(DataError, match=f'tokenizer.path.*{message}'):
    build(name, path=str(tmp_path / 'nothing'))


@pytest.mark.parametrize('name', ['gpt2', 'json', 'sentencepiece'])
def test_a_path_that_is_not_set_is_named(name):
  with pytest.raises(
    ConfigError, match=f"path is empty: tokenizer.name='{name}' needs"
  ):
    build(name)


def test_a_damaged_saved_tokenizer_is_named(tmp_path):
  build('byte', tmp_path)
  (tmp_path / 'tokenizer' / 'definition.json').write_text('{"name": ')
  with pytest.raises(DataError, match='definition.json cannot be read'):
    build('byte', tmp_path)


def make_outside(cfg, texts):
  """A tokenizer from outside the package."""
  return tokenizers.IdsTokenizer(7)


def test_a_plug_in_tokenizer_must_derive_from_the_base_class(tmp_path):
  outside = dataclasses.replace(config('byte'), name=f'{__name__}:make_outside')
  assert tokenizers.build(outside, list, tmp_path).vocab_size == 7
  with pytest.raises(ConfigError, match='returns a list; derive'):
    no_tokenizer = dataclasses.replace(outside, name=f'{__name__}:make_list')
    tokenizers.build(no_tokenizer, list)


def make_list(cfg, texts):
  return []


def test_an_unknown_tokenizer_names_the_nearest():
  with pytest.raises(ConfigError, match="did you mean 'byte'"):
    tokenizers.build(dataclasses.replace(config('byte'), name='bite'), list)


@pytest.mark.shared
def test_gpt2_gives_the_published_ids(shared_data, tmp_path):
  tokenizer = build('gpt2', tmp_path, path=str(shared_data / 'gpt2_bpe'))
  ids = tokenizer.encode('Hello world, 你好')
  assert ids.tolist() == [15496, 995, 11, 220, 19526, 254, 25001, 121]
  assert (tokenizer.vocab_size, tokenizer.eos_id) == (50257, 50256)
  for text in TEXTS:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.byte_lengths[tokenizer.encode(text)].sum() == len(text.encode())


@pytest.mark.shared
@pytest.mark.extra
def test_sentencepiece_round_trip_and_keeping(shared_data, tmp_path):
  pytest.importorskip('sentencepiece')
  path = next((shared_data / 'sentencepiece').glob('*.model'))
  tokenizer = build('sentencepiece', tmp_path, path=str(path))
  text = 'Hello world, this is a test of pieces.'
  ids = tokenizer.encode_batch([text])[0]
  assert tokenizer.vocab_size == 32101 and tokenizer.decode(ids) == text
  # One byte more: the space in front of the first word.
  assert tokenizer.byte_lengths[ids].sum() == len(text) + 1
  assert tokenizer.encode_with_bytes([text])[0][1].sum() == len(text)
  assert tokenizer.eos_id is not None and tokenizer.byte_lengths[tokenizer.eos_id] == 0
  again = build('sentencepiece', tmp_path, path='')
  assert again.fingerprint == tokenizer.fingerprint


def test_a_pretrained_model_brings_its_tokenizer(tmp_path):
  theirs = tokenizers.IdsTokenizer(11)
  asked = config('ids', vocab_size=11)
  taken = tokenizers.build(asked, list, tmp_path / 'run', inherited=theirs)
  assert taken.fingerprint == theirs.fingerprint
  for other in (config('byte'), config('ids', vocab_size=12)):
    with pytest.raises(ConfigError, match="tokenizer.name='ids' and leave the path"):
      tokenizers.build(other, list, tmp_path / 'other', inherited=theirs)
