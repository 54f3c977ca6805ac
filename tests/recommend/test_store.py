"""The folder of a recommender, and folders that are none."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.recommend.store import Store


def test_a_folder_keeps_settings_vectors_and_the_choice(tmp_path):
  store = Store(tmp_path)
  with pytest.raises(DataError, match='holds no recommender.*recommend train'):
    store.settings()
  store.write_settings({'seeds': [0]})
  assert store.settings() == {'seeds': [0]}
  assert store.read_vectors(3) is None and store.chosen() is None
  store.write_vectors(np.eye(3))
  assert store.read_vectors(3).shape == (3, 3)
  with pytest.raises(DataError, match='vectors of 3 items, the data have 4'):
    store.read_vectors(4)
  store.evaluation.write_text('{"chosen": "popularity"}')
  assert store.chosen() == 'popularity'
