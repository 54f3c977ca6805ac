"""Alternating least squares minimizes what it says, and finds groups of users."""

import numpy as np
import pytest

from gpt_jax.baselines import factorization, popularity
from gpt_jax.core.errors import DataError
from tests.baselines.test_popularity import read_films


@pytest.fixture(scope='module')
def two_groups():
  """Returns (users, items, labels): each group clicks its own half of the items."""
  rng = np.random.default_rng(0)
  users, items = rng.integers(0, 20, size=600), rng.integers(0, 20, size=600)
  labels = (users % 2 == items % 2).astype(int)
  return users.tolist(), items.tolist(), labels.tolist()


def test_the_objective_never_rises(two_groups):
  values = [
    factorization.objective(
      factorization.fit(*two_groups, factors=3, regularization=0.5, iterations=n),
      *two_groups,
      0.5,
    )
    for n in range(1, 8)
  ]
  assert all(b <= a + 1e-9 for a, b in zip(values, values[1:], strict=False))


def test_items_are_at_the_minimum_of_the_objective(two_groups):
  model = factorization.fit(*two_groups, factors=2, regularization=0.5, iterations=3)
  least = factorization.objective(model, *two_groups, 0.5)
  for place in np.ndindex(3, 3):  # factors and bias of three items
    # A quadratic is at its minimum where both sides rise by the same amount.
    rises = []
    for step in (-1e-3, 1e-3):
      model.items_IK[place] += step
      rises.append(factorization.objective(model, *two_groups, 0.5) - least)
      model.items_IK[place] -= step
    assert rises[0] > 0
    assert rises[0] == pytest.approx(rises[1], rel=1e-4)


def test_biases_alone_are_ridge_regression():
  users, items, labels = [0, 0, 1, 1, 2], ['a', 'b', 'a', 'c', 'b'], [1, 0, 1, 1, 0]
  model = factorization.fit(
    users, items, labels, factors=0, regularization=0.7, iterations=200
  )
  design = np.zeros((5, 6))
  design[range(5), users] = 1
  design[range(5), [3 + 'abc'.index(item) for item in items]] = 1
  target = np.array(labels) - np.mean(labels)
  weights = np.linalg.solve(design.T @ design + 0.7 * np.eye(6), design.T @ target)
  expected = np.mean(labels) + design @ weights
  np.testing.assert_allclose(model.values(users, items), expected, atol=1e-9)


def test_tastes_are_found_where_popularity_sees_none(two_groups):
  users, items, labels = two_groups
  model = factorization.fit(users, items, labels, factors=2, regularization=0.5)
  found = model.probabilities(users, items) > 0.5
  assert (found == np.array(labels)).mean() > 0.99
  popular = popularity.fit(items, labels).probabilities(items) > 0.5
  assert (popular == np.array(labels)).mean() < 0.7


def test_unseen_users_and_items_get_what_is_known(two_groups):
  model = factorization.fit(*two_groups)
  item = two_groups[1][0]
  values = model.values(['new', 'new'], [item, 'new'])
  bias = model.items_IK[model.item_of[item], -1]
  assert values.tolist() == pytest.approx([model.mean + bias, model.mean])


def test_the_same_seed_gives_the_same_numbers(two_groups):
  first, again = (factorization.fit(*two_groups, seed=1) for _ in range(2))
  np.testing.assert_array_equal(first.users_UK, again.users_UK)
  other = factorization.fit(*two_groups, seed=2)
  assert (first.users_UK != other.users_UK).any()
  probabilities = first.probabilities(*two_groups[:2])
  assert ((0.01 <= probabilities) & (probabilities <= 0.99)).all()


def test_what_cannot_be_learnt_from_is_refused():
  with pytest.raises(DataError, match='there are no examples'):
    factorization.fit([], [], [])
  with pytest.raises(DataError, match=r'labels\[0\]=5'):
    factorization.fit(['u'], ['i'], [5])


@pytest.mark.shared
@pytest.mark.extra
def test_users_of_films_differ(shared_data):
  pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
  from gpt_jax.evaluation.ranking_scores import ranking_scores

  train, (users, films, labels) = read_films(shared_data)
  probabilities = factorization.fit(*train).probabilities(users, films)
  assert 0.75 < ranking_scores(labels, probabilities, users).metrics['auc'] < 0.8
