"""Biased matrix factorization of clicks, by alternating least squares.

Koren, Bell & Volinsky 2009, "Matrix Factorization Techniques for Recommender Systems",
eq. 5, on labels 0 and 1.
"""

import dataclasses

import numpy as np

from gpt_jax.baselines import popularity
from gpt_jax.evaluation import aligned

LOWEST = 0.01
"""Probabilities are kept this far from 0 and 1, where log loss has no end."""


@dataclasses.dataclass(frozen=True)
class Factorization:
  """The mean click rate, and vectors of users and items with their biases."""

  mean: float
  user_of: dict
  item_of: dict
  users_UK: np.ndarray
  """Each user's factors, bias last."""
  items_IK: np.ndarray
  """Each item's factors, bias last."""

  def values(self, users, items):
    """Returns mean + user bias + item bias + dot product; parts of the unseen are 0."""
    user_NK = _look_up(self.users_UK, self.user_of, users)
    item_NK = _look_up(self.items_IK, self.item_of, items)
    dot_N = (user_NK[:, :-1] * item_NK[:, :-1]).sum(axis=1)
    return self.mean + user_NK[:, -1] + item_NK[:, -1] + dot_N

  def probabilities(self, users, items):
    """Returns the click probability of each pair: `values`, clipped."""
    return np.clip(self.values(users, items), LOWEST, 1 - LOWEST)


def fit(users, items, labels, *, factors=8, regularization=10.0, iterations=10, seed=0):
  """Returns the `Factorization` that squared error, weights penalized, asks for.

  Each iteration solves for all users' factors and biases with the items' fixed, then
  for the items'; `objective` never rises.

  Args:
    users: of each training example.
    items: of each training example.
    labels: 1 for a click, 0 for none.
    factors: length of the vectors beside the biases; 0: biases alone.
    regularization: the penalty's factor; above 0.
    iterations: how often both are solved for.
    seed: of the items' vectors at the start, normal with a deviation of 0.1.

  Raises DataError on no examples, other lengths, or labels that are not 0 or 1.
  """
  aligned.require_aligned('Factorization', users=users, items=items, labels=labels)
  popularity.require_clicks('Factorization', labels)
  label_N = np.array([float(label) for label in labels])
  user_of = {user: row for row, user in enumerate(dict.fromkeys(users))}
  item_of = {item: row for row, item in enumerate(dict.fromkeys(items))}
  user_N = np.array([user_of[user] for user in users])
  item_N = np.array([item_of[item] for item in items])
  mean = float(label_N.mean())
  rng = np.random.default_rng(seed)
  items_IK = 0.1 * rng.standard_normal((len(item_of), factors + 1))
  items_IK[:, -1] = 0.0
  users_UK = np.zeros((len(user_of), factors + 1))
  for _ in range(iterations):
    users_UK = _solve(items_IK, user_N, item_N, label_N - mean, regularization)
    items_IK = _solve(users_UK, item_N, user_N, label_N - mean, regularization)
  return Factorization(mean, user_of, item_of, users_UK, items_IK)


def objective(model, users, items, labels, regularization):
  """Returns the squared errors plus `regularization` times the squared weights."""
  errors_N = np.asarray(labels) - model.values(users, items)
  weights = (model.users_UK**2).sum() + (model.items_IK**2).sum()
  return float((errors_N**2).sum() + regularization * weights)


def _solve(others_OK, own_N, other_N, residual_N, regularization):
  """Returns the factors and bias of each row of one side, the other side fixed."""
  order_N = np.argsort(own_N, kind='stable')
  features_NK = others_OK[other_N[order_N]].copy()
  target_N = residual_N[order_N] - features_NK[:, -1]
  features_NK[:, -1] = 1.0  # of the bias that is solved for
  starts = np.flatnonzero(np.diff(own_N[order_N], prepend=-1))
  penalty_KK = regularization * np.eye(others_OK.shape[1])
  grams_RKK = np.stack(
    [part.T @ part + penalty_KK for part in np.split(features_NK, starts[1:])]
  )
  moments_RK = np.add.reduceat(features_NK * target_N[:, None], starts)
  return np.linalg.solve(grams_RKK, moments_RK[..., None])[..., 0]


def _look_up(table_RK, row_of, names):
  """Returns the row of each name, zeros for one that has none."""
  padded_RK = np.vstack([table_RK, np.zeros(table_RK.shape[1])])
  return padded_RK[[row_of.get(name, len(table_RK)) for name in names]]
