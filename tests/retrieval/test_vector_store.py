"""Vectors that are kept while they are made."""

import numpy as np
import pytest

from gpt_jax.retrieval import vector_store
from gpt_jax.retrieval.vector_store import VectorStore
from tests.retrieval import tiny_encoder

TEXTS = [f'passage {i} about subject {i % 7}' for i in range(10)]


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
  monkeypatch.setattr(vector_store, 'BATCH', 3)


def test_a_stopped_start_goes_on_where_it_was(tmp_path):
  embed = tiny_encoder.make()
  probe_D = embed(['probe'])[0]

  def stops(texts):
    if embed.calls > 6:
      raise KeyboardInterrupt
    return embed(texts)

  with pytest.raises(KeyboardInterrupt):
    VectorStore(tmp_path / 'p', probe_D).embed(TEXTS, stops)
  done = embed.calls
  store = VectorStore(tmp_path / 'p', probe_D)
  found_ND = store.embed(TEXTS, embed)
  assert embed.calls == done + len(TEXTS) - 6
  np.testing.assert_array_equal(found_ND, tiny_encoder.make()(TEXTS))
  store.clear()
  assert not (tmp_path / 'p').exists()


def test_equal_texts_are_embedded_once(tmp_path):
  embed = tiny_encoder.make()
  store = VectorStore(tmp_path / 'p', embed(['probe'])[0])
  found_ND = store.embed(['a', 'b', 'a'], embed)
  assert embed.calls == 3 and (found_ND[0] == found_ND[2]).all()


def test_vectors_of_another_encoder_are_dropped(tmp_path):
  one, other = tiny_encoder.make(), tiny_encoder.make(seed=1)
  VectorStore(tmp_path / 'p', one(['probe'])[0]).embed(TEXTS, one)
  assert not VectorStore(tmp_path / 'p', other(['probe'])[0]).vectors


def test_a_damaged_file_is_made_again(tmp_path):
  embed = tiny_encoder.make()
  probe_D = embed(['probe'])[0]
  VectorStore(tmp_path / 'p', probe_D).embed(TEXTS, embed)
  next((tmp_path / 'p').glob('*.npz')).write_bytes(b'PK no')
  assert len(VectorStore(tmp_path / 'p', probe_D).vectors) in (7, 9)
