"""Ways of scoring all items for a history of liked ones, without a neural ranker."""

import dataclasses

import numpy as np

from gpt_jax.baselines import implicit_factorization

SHRINKAGE = 10.0
"""Added to the norm of a pair: items that few people liked are alike by chance."""


@dataclasses.dataclass(frozen=True)
class Popularity:
  """How many people liked an item; whoever asks gets the same order."""

  counts_I: np.ndarray

  def scores(self, history):
    del history
    return self.counts_I


@dataclasses.dataclass(frozen=True)
class CoOccurrence:
  """How often items were liked together: the shrunk cosine of their columns.

  Sarwar et al. 2001, "Item-based collaborative filtering", section 3.1.1.
  """

  similarity_II: object
  """A sparse matrix, 0 on the diagonal."""

  def scores(self, history):
    chosen = self.similarity_II[np.asarray(history, int)]  # pyright: ignore
    return np.asarray(chosen.sum(axis=0)).ravel()


@dataclasses.dataclass(frozen=True)
class TextVectors:
  """The cosine of an item's text with the mean of those that were liked."""

  vectors_ID: np.ndarray
  """Of length 1."""

  def scores(self, history):
    mean_D = self.vectors_ID[np.asarray(history, int)].mean(axis=0)
    return self.vectors_ID @ mean_D


def fit_popularity(histories, num_items):
  """Returns the Popularity of what users liked."""
  liked = np.concatenate([np.asarray(own, int) for own in histories])
  return Popularity(np.bincount(liked, minlength=num_items).astype(float))


def fit_co_occurrence(histories, num_items, shrinkage=SHRINKAGE):
  """Returns the CoOccurrence of what users liked."""
  from scipy import sparse

  users = np.repeat(np.arange(len(histories)), [len(own) for own in histories])
  items = np.concatenate([np.asarray(own, int) for own in histories])
  shape = (len(histories), num_items)
  liked_UI = sparse.csr_array((np.ones(len(items)), (users, items)), shape=shape)
  together_II = (liked_UI.T @ liked_UI).tocoo()
  counts_I = np.asarray(liked_UI.sum(axis=0)).ravel()
  row, column = together_II.coords
  norms = np.sqrt(counts_I[row] * counts_I[column]) + shrinkage
  values = np.where(row == column, 0.0, together_II.data / norms)
  return CoOccurrence(
    sparse.csr_array((values, (row, column)), shape=(num_items, num_items))
  )


METHODS = {
  'popularity': fit_popularity,
  'co-occurrence': fit_co_occurrence,
  'matrix factorization': implicit_factorization.fit,
}
"""Each entry: `fit(histories, num_items)` -> what has `scores(history) -> [I]`."""
