"""Scorers against their definitions, and on people with a taste."""

import numpy as np
import pytest

from gpt_jax.recommend import scorers

HISTORIES = [(0, 1), (0, 1, 2), (3,), (1, 2)]


def test_popularity_counts_people():
  found = scorers.fit_popularity(HISTORIES, 5)
  assert found.scores((3,)).tolist() == [2, 3, 2, 1, 0]


def test_co_occurrence_is_the_shrunk_cosine():
  found = scorers.fit_co_occurrence(HISTORIES, 5, shrinkage=1.0)
  want = [0, 2 / (6**0.5 + 1), 1 / 3, 0, 0]
  np.testing.assert_allclose(found.scores((0,)), want)
  both = found.scores((0, 2))
  np.testing.assert_allclose(both, found.scores((0,)) + found.scores((2,)))


def test_text_vectors_are_cosines_with_the_mean():
  vectors = np.eye(3)
  found = scorers.TextVectors(vectors)
  np.testing.assert_allclose(found.scores((0, 1)), [0.5, 0.5, 0])


@pytest.mark.parametrize('name', ['co-occurrence', 'matrix factorization'])
def test_what_people_share_is_recommended(items, parts, name):
  fitted = scorers.METHODS[name](list(parts.train.values()), len(items))
  scores = fitted.scores((0, 1, 2))  # comedies
  assert scores[3:15].mean() > 2 * abs(scores[15:30].mean())
