"""Tokens of pieces are those of the whole text: any tokenizer, any text, any cuts."""

import numpy as np
import pytest

from configs import base
from gpt_jax import data as sources
from gpt_jax.config import load
from gpt_jax.core.errors import DataError
from gpt_jax.data import long_texts, text_source, token_cache
from tests.data import tokenizer_zoo

CHINESE = (
  '的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会'
)


def texts():
  """Returns texts without spaces, in runs, or of what tokenizers' patterns split at."""
  rng = np.random.default_rng(0)

  def drawn(parts, count):
    return ''.join(rng.choice(list(parts), count))

  return {
    'words': tokenizer_zoo.LEARNED[:3000],
    'odd': tokenizer_zoo.ODD * 12,
    'chinese': drawn(CHINESE, 1500),
    'digits': drawn('0123456789', 2000),
    'underscores': drawn(['_', '\n', 'a_', '__\n', '_b'], 1200),
    'line ends': drawn(['\n', '\n\n', 'word', '\r\n', ' ', '.\r\n'], 1000),
    'spaces': 'x' + ' ' * 2001 + 'y' + ' ' * 1003,
    'one letter': 'b' + 'a' * 2500,
    'anything': drawn('ab1 _\n.,é世🙂\t', 2000),
  }


TEXTS = texts()


@pytest.fixture
def small_pieces(monkeypatch):
  monkeypatch.setattr(long_texts, '_OVERLAP_CHARS', 64)
  monkeypatch.setattr(long_texts, '_GROUP_CHARS', 1000)
  monkeypatch.setattr(text_source, '_PIECE_BYTES', 512)


@pytest.mark.parametrize('kind', tokenizer_zoo.KINDS)
def test_pieces_have_the_tokens_of_the_text(kind, small_pieces):
  tokenizer = tokenizer_zoo.make(kind)
  rng = np.random.default_rng(1)
  for name, text in TEXTS.items():
    if kind == 'char':
      text = ''.join(c for c in text if c in tokenizer_zoo.LEARNED)
    for _ in range(3):
      cuts = np.sort(rng.integers(0, len(text), len(text) // 400))
      pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
      found = list(long_texts.encode(tokenizer, pieces))
      ids, num_bytes = (np.concatenate(parts) for parts in zip(*found, strict=True))
      ((expected, expected_bytes),) = tokenizer.encode_with_bytes([text])
      if (kind, name) == ('unigram', 'one letter'):  # equally likely in any order
        ids, expected = np.sort(ids), np.sort(expected)
        num_bytes, expected_bytes = np.sort(num_bytes), np.sort(expected_bytes)
      np.testing.assert_array_equal(ids, expected, err_msg=name)
      np.testing.assert_array_equal(num_bytes, expected_bytes, err_msg=name)


@pytest.mark.parametrize('kind', ['bpe', 'gpt4', 'llama', 'wordpiece', 'unigram'])
@pytest.mark.parametrize('name', ['chinese', 'underscores', 'anything'])
def test_the_token_cache_has_the_tokens_of_the_file(kind, name, small_pieces, tmp_path):
  tokenizer, text = tokenizer_zoo.make(kind), TEXTS[name]
  (tmp_path / 'a.txt').write_text(text, encoding='utf-8', newline='')
  fields = {'data.source': 'text', 'data.path': str(tmp_path), 'data.split': 'all'}
  source = sources.make_source(load.resolve(base.get_config(), fields).data)
  assert len(list(source.pieces(0))) > 3
  store = token_cache.open_tokens(
    source, tokenizer, append_eos=False, cache_dir=tmp_path / 'cache'
  )
  np.testing.assert_array_equal(store.tokens, tokenizer.encode(text))
  assert store.offsets.tolist() == [0, len(store.tokens)]


def test_pieces_that_agree_nowhere_are_tokenized_as_one(small_pieces, monkeypatch):
  tokenizer = tokenizer_zoo.make('wordlevel')  # a long word is one unknown token
  pieces = ['x' * 300] * 9
  found = list(long_texts.encode(tokenizer, pieces))
  assert [len(ids) for ids, _ in found] == [1]
  monkeypatch.setattr(long_texts, '_MAX_CHARS', 2000)
  with pytest.raises(DataError, match=r'a.txt: .*characters.*divide them'):
    list(long_texts.encode(tokenizer, pieces, 'a.txt'))


def test_an_unknown_character_of_a_long_text_names_it(small_pieces):
  tokenizer = tokenizer_zoo.make('char')
  with pytest.raises(DataError, match="a.txt: character 'ß'"):
    list(long_texts.encode(tokenizer, ['aaaa' * 100, 'aaaß' * 100], 'a.txt'))


def test_empty_texts_have_no_tokens():
  tokenizer = tokenizer_zoo.make('byte')
  assert list(long_texts.encode(tokenizer, [])) == []
  assert list(long_texts.encode(tokenizer, ['', ''])) == []
