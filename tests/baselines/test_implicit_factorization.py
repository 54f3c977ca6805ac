"""Implicit factorization: each step is a minimum, and tastes are found."""

import numpy as np
import pytest

from gpt_jax.baselines import implicit_factorization as factorization
from gpt_jax.core.errors import DataError

HISTORIES = [(0, 1), (0, 1, 2), (3, 4), (2, 3), ()]


def test_the_objective_never_rises():
  values = []
  for iterations in range(1, 6):
    model = factorization.fit(HISTORIES, 6, factors=2, iterations=iterations)
    users = np.stack([model.user(own) for own in HISTORIES])
    values.append(factorization.objective(users, model, HISTORIES))
  assert values == sorted(values, reverse=True)


def test_a_user_vector_is_a_minimum():
  model = factorization.fit(HISTORIES, 6, factors=2)
  users = np.stack([model.user(own) for own in HISTORIES])
  best = factorization.objective(users, model, HISTORIES)
  for row, column in np.ndindex(users.shape):
    for step in (-1e-3, 1e-3):
      moved = users.copy()
      moved[row, column] += step
      assert factorization.objective(moved, model, HISTORIES) >= best


def test_a_history_without_items_is_a_zero_vector():
  assert not factorization.fit(HISTORIES, 6, factors=2).user(()).any()


def test_nothing_liked_is_refused():
  with pytest.raises(DataError, match='nobody liked anything'):
    factorization.fit([(), ()], 3)
