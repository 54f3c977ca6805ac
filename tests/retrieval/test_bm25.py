"""BM25 by the package, against its formula."""

import collections
import math
import sys

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.retrieval import bm25

ROWS = [['a', 'b', 'a'], ['b', 'c'], ['c', 'd', 'd', 'e'], []]


def formula(query, rows):
  """Returns BM25 as Lucene has it: log(1 + (N - n + .5) / (n + .5)), no (k1 + 1)."""
  mean = sum(len(row) or 1 for row in rows) / len(rows)
  found = []
  for row in rows:
    counts, score = collections.Counter(row), 0.0
    for term in query:
      n = sum(term in other for other in rows)
      idf = math.log(1 + (len(rows) - n + 0.5) / (n + 0.5))
      norm = bm25.K1 * (1 - bm25.B + bm25.B * (len(row) or 1) / mean)
      score += idf * counts[term] / (counts[term] + norm)
    found.append(score)
  return found


@pytest.mark.parametrize('query', [['a'], ['b', 'd'], ['c', 'c'], ['a', 'unknown']])
def test_scores_are_those_of_the_formula(query, tmp_path):
  made = bm25.WordIndex.build(ROWS)
  known = [term for term in query if term != 'unknown']
  np.testing.assert_allclose(made.scores(query), formula(known, ROWS), rtol=1e-5)
  made.save(tmp_path)
  again = bm25.WordIndex.load(tmp_path)
  np.testing.assert_array_equal(again.scores(query), made.scores(query))


def test_nothing_is_found_for_terms_that_no_passage_has():
  made = bm25.WordIndex.build(ROWS)
  assert not made.scores(['zzz', '']).any() and not made.scores([]).any()
  assert bm25.WordIndex.build([[], []]).scores(['a']).tolist() == [0, 0]


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'bm25s', None)
  with pytest.raises(ConfigError, match=r"'bm25s'.*gpt_jax\[retrieval\]"):
    bm25.require()
