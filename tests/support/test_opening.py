"""Index, encoder and answerer put together."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.retrieval import index
from gpt_jax.retrieval.index import Settings
from gpt_jax.support import confidence, opening
from tests.support import shop
from tests.support.test_confidence import examples


def test_a_service_has_the_threshold_that_was_kept(tmp_path):
  shop.make_searcher(tmp_path, with_vectors=False)
  made = opening.open_service(tmp_path / 'index')
  assert made.confidence is None and made.method == 'bm25'
  found = confidence.fit(*examples())
  confidence.save(tmp_path / 'index', made.key, found)
  assert opening.open_service(tmp_path / 'index').confidence == found


def test_an_encoder_for_an_index_of_words_is_refused(tmp_path):
  shop.make_searcher(tmp_path, with_vectors=False)
  with pytest.raises(ConfigError, match='was made without one'):
    opening.open_searcher(tmp_path / 'index', 'runs/encoder')


@pytest.mark.slow
def test_the_encoder_is_a_run_and_may_move(tmp_path, finished_run):
  source = shop.write(tmp_path / 'docs')
  folder = tmp_path / 'index'
  embed = opening.encoder_of(str(finished_run))
  index.update(folder, source, Settings(60, 0, str(tmp_path / 'gone')), embed)
  searcher = opening.open_searcher(folder, str(finished_run))
  (vector_D,) = searcher.embed(['postage'])
  assert np.linalg.norm(vector_D) == pytest.approx(1, rel=1e-5)
  assert len(searcher.search('postage', 3)) == 3
  assert opening.encoder_of('') is None
