"""The token cache: exact content, bounded memory, reuse, atomicity, refusals."""

import os
import threading

import numpy as np
import pytest

from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.data import token_build, token_cache
from gpt_jax.data.source import Source
from gpt_jax.data.tokenizers import ByteTokenizer, IdsTokenizer


class Texts(Source):
  """A source of given texts that counts how often it is read."""

  def __init__(self, *texts, version=0):
    self.texts, self.reads = texts, 0
    self.fingerprint = {'source': 'texts', 'split': 'train', 'version': version}

  def __len__(self):
    return len(self.texts)

  def __getitem__(self, i):
    self.reads += 1
    return {'text': self.texts[i]}


class Ids(Texts):
  def __getitem__(self, i):
    return {'tokens': np.array(self.texts[i], np.int32)}


def open_tokens(source, folder, tokenizer=None, append_eos=True):
  return token_cache.open_tokens(
    source, tokenizer or ByteTokenizer(), append_eos=append_eos, cache_dir=folder
  )


def test_documents_are_concatenated_with_end_tokens_and_offsets(tmp_path):
  store = open_tokens(Texts('ab', '', 'c'), tmp_path)
  assert store.tokens.tolist() == [97, 98, 256, 99, 256]
  assert store.offsets.tolist() == [0, 3, 5]  # the empty document is left out
  assert (store.num_tokens, store.num_documents) == (5, 2)
  bare = open_tokens(Texts('ab', 'c'), tmp_path, append_eos=False)
  assert bare.tokens.tolist() == [97, 98, 99] and bare.offsets.tolist() == [0, 2, 3]


def test_small_batches_of_text_give_the_same_store(tmp_path, monkeypatch):
  source = Texts('abc', 'de', 'fghij', 'k')
  whole = open_tokens(source, tmp_path / 'whole')
  monkeypatch.setattr(token_build, '_BATCH_CHARS', 1)
  parts = open_tokens(source, tmp_path / 'parts')
  np.testing.assert_array_equal(whole.tokens, parts.tokens)
  np.testing.assert_array_equal(whole.offsets, parts.offsets)


def test_tokens_are_built_once_and_again_when_anything_changes(tmp_path):
  source = Texts('abc', 'de')
  open_tokens(source, tmp_path)
  reads = source.reads
  open_tokens(source, tmp_path)
  assert source.reads == reads and len(os.listdir(tmp_path)) == 1
  open_tokens(source, tmp_path, append_eos=False)
  open_tokens(source, tmp_path, IdsTokenizerOfBytes())
  open_tokens(Texts('abc', version=1), tmp_path)
  assert len(os.listdir(tmp_path)) == 4


class IdsTokenizerOfBytes(ByteTokenizer):
  """Bytes under another name: other ids to the cache."""

  name = 'other'


def test_large_vocabularies_take_four_bytes(tmp_path):
  small = open_tokens(Ids([1, 65535]), tmp_path, IdsTokenizer(1 << 16))
  large = open_tokens(Ids([1, 65536]), tmp_path, IdsTokenizer((1 << 16) + 1))
  assert small.tokens.dtype == np.uint16 and small.tokens.tolist() == [1, 65535]
  assert large.tokens.dtype == np.uint32 and large.tokens.tolist() == [1, 65536]


@pytest.mark.parametrize('bad', [-1, 12])
def test_ids_outside_the_vocabulary_are_located(tmp_path, bad):
  source = Ids([1, 2, 3], [4, 5, bad])
  with pytest.raises(DataError, match=f'token {bad} at position 2 of document 1'):
    open_tokens(source, tmp_path, IdsTokenizer(12))
  assert os.listdir(tmp_path) == []  # nothing half-made is left


def test_a_split_without_text_is_refused(tmp_path):
  with pytest.raises(DataError, match="data.source='texts'.*no tokens"):
    open_tokens(Texts('', ''), tmp_path)


def test_an_unwritable_cache_folder_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(StorageError, match='data.cache_dir'):
    open_tokens(Texts('a'), tmp_path / 'file')


def test_many_builders_at_once_all_get_the_same_store(tmp_path):
  barrier, found = threading.Barrier(8), []

  class Waiting(Texts):
    def __getitem__(self, i):
      if i == 0:
        barrier.wait(timeout=20)  # all eight have found nothing and started to build
      return super().__getitem__(i)

  def build():
    found.append(open_tokens(Waiting('ab', 'c'), tmp_path).tokens.tolist())

  threads = [threading.Thread(target=build) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert found == [[97, 98, 256, 99, 256]] * 8
  assert len(os.listdir(tmp_path)) == 1
