"""Tokenizers in headers of GGUF files give the ids of those they were written from."""

import io
import json

import numpy as np
import pytest

from gpt_jax.core.errors import CheckpointError
from gpt_jax.data.tokenizers import IdsTokenizer
from gpt_jax.interop.gguf_header import read_header
from gpt_jax.interop.gguf_tokenizer import open_tokenizer
from tests.data import tokenizer_zoo
from tests.interop import gguf_bytes, varied_texts


def header(**fields):
  return {f'tokenizer.ggml.{name}': value for name, value in fields.items()}


def of_byte_level(kind, **more):
  """Returns (the fields of a byte-level BPE of the zoo, the tokenizer itself)."""
  tokenizer = tokenizer_zoo.make(kind)
  state = json.loads(tokenizer.library_model.to_str())['model']
  tokens = sorted(state['vocab'], key=state['vocab'].get)
  merges = [' '.join(pair) for pair in state['merges']]
  return header(model='gpt2', tokens=tokens, merges=merges, **more), tokenizer


def of_sentencepiece(**more):
  """Returns fields of a small SentencePiece model, made by hand."""
  words = ['a', 'b', '▁', 'ab', '▁a', '▁ab', '  ', 'x<y']
  tokens = ['<unk>', '<s>', '</s>', *(f'<0x{i:02X}>' for i in range(256)), *words]
  count = len(tokens)
  kinds = np.array([2, 3, 3] + [6] * 256 + [1] * 6 + [4, 4], '<i4')
  scores = np.array([0] * 259 + [-1, -2, -3, -1, -2, -3, 0, 0], '<f4')
  fields = dict(bos_token_id=1, eos_token_id=2, unknown_token_id=0)
  assert len(kinds) == len(scores) == count
  return header(
    model='llama', tokens=tokens, token_type=kinds, scores=scores, **(fields | more)
  )


def test_pieces_are_joined_best_score_first():
  tokenizer, fields = open_tokenizer(of_sentencepiece(), 'x', 300)
  names = [tokenizer.library_model.id_to_token(i) for i in tokenizer.encode('ab  abé')]
  # `ab` (-1) is made before `▁a` (-2), two spaces before all.
  assert names == ['▁ab', '▁▁', 'ab', '<0xC3>', '<0xA9>']
  assert fields == {'tokenizer.name': 'json', 'data.begin_token': '<s>'}
  assert tokenizer.eos_id == 2 and tokenizer.special_tokens['<s>'] == 1


@pytest.mark.parametrize('adds_space', [True, False])
def test_texts_come_back_and_special_tokens_are_text(adds_space):
  fields = of_sentencepiece(add_space_prefix=adds_space, add_bos_token=False)
  tokenizer, config_fields = open_tokenizer(fields, 'x', 300)
  assert 'data.begin_token' not in config_fields
  for text in ['', ' ', 'ab', '  ab ', '<s>ab</s>', '\n\t🙂', '<0x41>']:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and not {1, 2} & set(ids.tolist())
  assert tokenizer.encode('ax<yb').tolist().count(266) == 1  # of a user


@pytest.mark.parametrize('kind, pre', [('bpe', 'gpt-2'), ('gpt4', 'llama-bpe')])
def test_byte_level_ids_are_those_of_the_original(kind, pre):
  fields, original = of_byte_level(kind, pre=pre)
  tokenizer, _ = open_tokenizer(fields, 'x', 1000)
  texts = varied_texts.make(60)
  for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
    assert tokenizer.decode(ids) == text
    if pre != 'llama-bpe':  # there, words that are tokens are not merged
      np.testing.assert_array_equal(ids, original.encode(text))


def test_a_file_without_a_tokenizer_gives_ids_as_text(capsys):
  tokenizer, fields = open_tokenizer({}, 'none.gguf', 12)
  assert isinstance(tokenizer, IdsTokenizer) and tokenizer.vocab_size == 12
  assert fields == {'tokenizer.name': 'ids', 'tokenizer.vocab_size': 12}
  assert 'none.gguf: has no tokenizer' in capsys.readouterr().err


def test_the_format_of_chats_is_kept():
  chat = {'tokenizer.chat_template': '{{ messages }}'}
  tokenizer, _ = open_tokenizer(of_sentencepiece() | chat, 'x', 300)
  assert tokenizer.chat_template == '{{ messages }}'
  assert open_tokenizer(of_sentencepiece(), 'x', 300)[0].chat_template is None
  with pytest.raises(CheckpointError, match='x: tokenizer.chat_template: expected'):
    open_tokenizer(of_sentencepiece() | {'tokenizer.chat_template': 3}, 'x', 300)


def test_padded_embeddings_are_right_and_short_ones_refused():
  assert open_tokenizer(of_sentencepiece(), 'x', 320)[0].vocab_size == 267
  with pytest.raises(CheckpointError, match='has 267 ids, the embedding 266 rows'):
    open_tokenizer(of_sentencepiece(), 'x', 266)


SHORT = of_sentencepiece()


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(model='rwkv'), "tokenizer.ggml.model='rwkv': expected one of llama, gpt2"),
    (dict(model=3), 'tokenizer.ggml.model=3: expected a text'),
    (dict(tokens=[]), 'tokenizer.ggml.tokens: empty'),
    (dict(tokens='abc'), 'tokens: missing, or no list of texts'),
    (dict(tokens=['a', 'b', 'a']), r"tokens: \['a'\] twice"),
    (dict(scores=np.zeros(5, 'f4')), 'scores: 5 numbers for 267 tokens'),
    (dict(scores=np.full(267, np.nan, 'f4')), 'scores: has numbers that are not'),
    (dict(scores=['a']), 'scores: 1 numbers for 267 tokens'),
    (dict(token_type=np.full(267, 9, 'i4')), 'token_type: has 9; expected 1 to 6'),
    (dict(token_type=np.full(267, 6, 'i4')), "'<unk>' is said to be a byte"),
    (dict(bos_token_id=267), 'bos_token_id=267: expected 0 to 266'),
    (dict(eos_token_id=0.5), 'eos_token_id=0.5: expected 0 to 266'),
    (dict(add_bos_token='yes'), "add_bos_token='yes': expected true or false"),
    (dict(model='gpt2', pre='qwen'), "pre='qwen': expected .*nearest is 'qwen2'"),
    (dict(model='gpt2', merges=['a b', 'a c']), "merges: 'a c' is not of two tokens"),
    (dict(model='gpt2', merges=['a', 'b']), "merges: 'a' is not of two tokens"),
  ],
)  # fmt: skip
def test_headers_that_contradict_themselves_are_refused(changes, message):
  with pytest.raises(CheckpointError, match=message):
    open_tokenizer(SHORT | header(**changes), 'x', 300)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['llama', 'gpt2'])
def test_headers_with_flipped_bits_give_one_error_or_a_tokenizer(kind):
  fields = of_sentencepiece() if kind == 'llama' else of_byte_level('bpe')[0]
  content, size = gguf_bytes.make(fields, {})
  rng, outcomes = np.random.default_rng(0), set()
  for position in rng.integers(24, size, 400):
    changed = bytearray(content)
    changed[position] ^= 1 << int(rng.integers(8))
    try:
      header, _ = read_header(io.BytesIO(changed), len(changed), 'x.gguf')
      tokenizer, _ = open_tokenizer(header, 'x.gguf', 500)
      tokenizer.decode(tokenizer.encode('ab  é'))
      outcomes.add('read')
    except CheckpointError as error:
      assert 'x.gguf' in str(error)
      outcomes.add('refused')
  assert outcomes == {'read', 'refused'}


@pytest.mark.slow
@pytest.mark.parametrize('adds_space', [True, False])
def test_ids_are_those_of_sentencepiece(adds_space, tmp_path):
  sentencepiece = pytest.importorskip('sentencepiece', reason='compares with it')
  (tmp_path / 'learned.txt').write_text(tokenizer_zoo.LEARNED, encoding='utf-8')
  sentencepiece.SentencePieceTrainer.train(
    input=str(tmp_path / 'learned.txt'), model_prefix=str(tmp_path / 'model'),
    vocab_size=600, model_type='bpe', byte_fallback=True, character_coverage=0.99,
    normalization_rule_name='identity', remove_extra_whitespaces=False,
    add_dummy_prefix=adds_space, allow_whitespace_only_pieces=True,
    minloglevel=2, num_threads=1,
  )  # fmt: skip
  model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / 'model.model'))
  ids = range(model.vocab_size())
  kinds = [
    2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i)
    else 1
    for i in ids
  ]  # fmt: skip
  fields = header(
    model='llama', tokens=[model.id_to_piece(i) for i in ids],
    scores=np.array([model.get_score(i) for i in ids], 'f4'),
    token_type=np.array(kinds, 'i4'), add_space_prefix=adds_space,
    bos_token_id=1, eos_token_id=2,
  )  # fmt: skip
  tokenizer, _ = open_tokenizer(fields, 'x', 600)
  texts = [text for text in varied_texts.make(300) if '\0' not in text]
  for text, found in zip(texts, tokenizer.encode_batch(texts), strict=True):
    assert found.tolist() == model.encode(text)
    assert tokenizer.decode(found) == model.decode(found.tolist())


@pytest.mark.slow
def test_ids_of_gemma_are_those_of_transformers(gemma):
  integrations = pytest.importorskip(
    'transformers.integrations.gguf', reason="needs pip install 'gpt_jax[oracle]'"
  )
  from gpt_jax.interop.gguf_file import GGUFFile

  with GGUFFile(gemma) as file:
    tokenizer, fields = open_tokenizer(file.fields, gemma, 262_144)
  assert fields['data.begin_token'] == '<bos>' and tokenizer.eos_id == 1
  architecture, content, _ = integrations.get_gguf_tokenizer(str(gemma))
  theirs, _ = integrations.convert_gguf_tokenizer(architecture, content)
  theirs.encode_special_tokens = True
  texts = varied_texts.make(1200)
  wanted = theirs.encode_batch(texts, add_special_tokens=False)
  for text, found, one in zip(
    texts, tokenizer.encode_batch(texts), wanted, strict=True
  ):
    assert found.tolist() == one.ids
    assert tokenizer.decode(found) == theirs.decode(one.ids)
    assert tokenizer.decode(found) == text.replace('\u2581', ' ')
