"""The first stage: some hundred items of several orders, by reciprocal rank fusion.

Cormack, Clarke & Büttcher 2009: an item's score is the sum of 1 / (60 + rank).
"""

import numpy as np

CONSTANT = 60
COUNT = 100


def order(scores_I, seen=()):
  """Returns the rows of items that are not `seen`, best first; ties by row."""
  scores_I = np.asarray(scores_I, float).copy()
  seen = np.fromiter(seen, int, len(seen))
  ordered = np.argsort(-scores_I, kind='stable')
  is_seen_I = np.zeros(len(scores_I), bool)
  is_seen_I[seen] = True
  return ordered[~is_seen_I[ordered]]


def fuse(orders, num_items):
  """Returns the fused score of each item, float [I], of orders of rows.

  An item that an order lacks gets nothing from it.
  """
  fused_I = np.zeros(num_items)
  for rows in orders:
    fused_I[rows] += 1 / (CONSTANT + 1 + np.arange(len(rows)))
  return fused_I


def first_stage(scorers, history, seen):
  """Returns all rows that are not `seen`, in the fused order of several scorers."""
  orders = [order(one.scores(history), seen) for one in scorers]
  num_items = len(orders[0]) + len(seen)
  return order(fuse(orders, num_items), seen)
