"""Rankings by words, by vectors and fused."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.retrieval import index, search
from gpt_jax.retrieval.index import Index, Settings
from tests.retrieval import tiny_encoder

TEXTS = {
  'a': 'Lamps and bulbs are returned within 30 days.',
  'b': 'Bulbs of 60 watts fit the floor lamp.',
  'c': 'Parcels arrive after two days.',
  'd': '我们接受信用卡。',
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  source = tmp_path_factory.mktemp('docs')
  for name, text in TEXTS.items():
    (source / f'{name}.txt').write_text(text)
  made = tmp_path_factory.mktemp('index')
  index.update(made, source, Settings(50, 0, 'e'), tiny_encoder.make())
  index.update(made / 'words', source, Settings(50, 0))
  return made


@pytest.fixture
def searcher(folder):
  return search.Searcher(Index(folder), tiny_encoder.make())


def files(hits):
  return [hit.passage.file[0] for hit in hits]


def test_fused_scores_are_sums_of_reciprocal_ranks():
  bm25_N, cosine_N = np.array([3.0, 0, 2, 5]), np.array([0.1, 0.9, 0.5, -0.2])
  ranks = [(2, 3), (None, 1), (3, 2), (1, 4)]
  expected = [
    sum(1 / (60 + rank) for rank in pair if rank is not None) for pair in ranks
  ]
  np.testing.assert_allclose(search.fused(bm25_N, cosine_N), expected)


def test_each_method_ranks_by_its_own_score(searcher):
  question = 'When are bulbs returned?'
  for method in search.METHODS:
    hits = searcher.search(question, 4, method)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert files(hits)[0] == 'a' and [hit.rank for hit in hits][0] == 1
  assert files(searcher.search(question, 4, 'bm25')) == ['a', 'b']
  assert len(searcher.search(question, 4, 'dense')) == 4


def test_the_cosine_is_that_of_question_and_passage(searcher):
  (hit,) = searcher.search('parcel', 1, 'dense')
  one, other = tiny_encoder.make()(['parcel', hit.passage.to_embed])
  assert hit.cosine == pytest.approx(float(one @ other), rel=1e-5)


def test_chinese_is_found_without_spaces(searcher):
  assert files(searcher.search('可以用信用卡吗？', 1)) == ['d']


def test_hidden_passages_are_not_found(searcher):
  for method in search.METHODS:
    hidden = np.array([True, False, False, False])
    hits = searcher.search('When are bulbs returned?', 4, method, None, hidden)
    assert 'a' not in files(hits)


def test_an_index_without_vectors_is_searched_by_words(folder):
  searcher = search.Searcher(Index(folder / 'words'))
  assert searcher.methods == ('bm25',) and searcher.embed(['a']) is None
  (hit,) = searcher.search('parcels', 3)
  assert hit.cosine is None and hit.score == hit.bm25
  with pytest.raises(ConfigError, match='has no vectors'):
    searcher.search('parcels', 3, 'fused')
  with pytest.raises(ConfigError, match="did you mean 'bm25'"):
    searcher.search('parcels', 3, 'bm52')
