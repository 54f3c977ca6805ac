"""Matrix factorization of implicit feedback, by alternating least squares.

Hu, Koren & Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets", on
liked or not: the confidence of a liked item is 1 + `weight`, of any other 1.
"""

import dataclasses

import numpy as np

from gpt_jax.core.errors import DataError


@dataclasses.dataclass(frozen=True)
class ImplicitFactorization:
  """Vectors of items; those of users follow from what they liked."""

  items_IK: np.ndarray
  weight: float
  regularization: float

  def user(self, history):
    """Returns the vector [K] of someone who liked the items `history`: eq. 4."""
    (vector_K,) = solve(
      self.items_IK, [np.asarray(history, int)], self.weight, self.regularization
    )
    return vector_K

  def scores(self, history):
    """Returns the preference of each item, float [I], for one who liked `history`."""
    return self.items_IK @ self.user(history)


def fit(
  histories, num_items, *, factors=32, weight=5.0, regularization=5.0,
  iterations=15, seed=0,
):  # fmt: skip
  """Returns the `ImplicitFactorization` of what users liked.

  Each iteration solves for all users with the items fixed, then for the items; the
  weighted squared error plus `regularization` times the squared vectors never rises.

  Args:
    histories: for each user the items, from 0 to `num_items` - 1, that they liked.
    factors: K, the length of the vectors.
    weight: what the confidence of a liked item is above that of others; above 0.
    regularization: above 0.
    seed: of the items' vectors at the start, normal with a deviation of 0.1.

  Raises DataError where nobody liked anything.
  """
  if not any(len(own) for own in histories):
    raise DataError('Matrix factorization: nobody liked anything; expected histories.')
  rng = np.random.default_rng(seed)
  items_IK = 0.1 * rng.standard_normal((num_items, factors))
  rows_U = [np.asarray(own, int) for own in histories]
  users_I = _transposed(rows_U, num_items)
  for _ in range(iterations):
    users_UK = solve(items_IK, rows_U, weight, regularization)
    items_IK = solve(users_UK, users_I, weight, regularization)
  return ImplicitFactorization(items_IK, weight, regularization)


def objective(users_UK, model, histories):
  """Returns the weighted squared error plus the penalty: eq. 3."""
  wanted_UI = np.zeros((len(users_UK), len(model.items_IK)))
  for row, own in enumerate(histories):
    wanted_UI[row, np.asarray(own, int)] = 1.0
  errors_UI = wanted_UI - users_UK @ model.items_IK.T
  squares = ((1 + model.weight * wanted_UI) * errors_UI**2).sum()
  penalty = (users_UK**2).sum() + (model.items_IK**2).sum()
  return float(squares + model.regularization * penalty)


def solve(others_OK, liked, weight, regularization):
  """Returns the vector [K] of each row of `liked`, indices of `others_OK`: eq. 4, 5."""
  K = others_OK.shape[1]
  gram_KK = others_OK.T @ others_OK + regularization * np.eye(K)
  found_RK = np.zeros((len(liked), K))
  for row, own in enumerate(liked):
    if len(own):
      liked_NK = others_OK[own]
      left_KK = gram_KK + weight * liked_NK.T @ liked_NK
      found_RK[row] = np.linalg.solve(left_KK, (1 + weight) * liked_NK.sum(axis=0))
  return found_RK


def _transposed(rows_U, num_items):
  found = [[] for _ in range(num_items)]
  for user, own in enumerate(rows_U):
    for item in own:
      found[item].append(user)
  return [np.array(own, int) for own in found]
