"""Scores of click probabilities: of each by itself, and of the order of a user's."""

import math

import numpy as np

from gpt_jax.core import extras
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned
from gpt_jax.evaluation.scores import Scores

METRIC = 'Scores of rankings'
TOP = 10


def ranking_scores(labels, probabilities, users):
  """Returns the `Scores` of one click probability an example.

  Metrics: auc and log_loss over all examples (scikit-learn; equal probabilities count
  half in auc); ndcg_at_10 and hit_rate_at_10, means over users. A user's examples are
  ranked by probability; NDCG (Jarvelin & Kekalainen 2002) is averaged over the orders
  of equal ones, and so is a hit: a clicked item among the first ten.

  A user without a click, or with nothing else, has no order to judge and is left out of
  both means; where all are, they are nan, and so is auc where all labels are equal.
  Someone with ten items or fewer always has a hit. Details: num_users,
  num_ranked_users, and num_long_users, those ranked with more than ten items.

  Args:
    labels: 1 for a click, 0 for none.
    probabilities: of a click.
    users: whose each example is.

  Raises DataError on no examples, other lengths, labels that are not 0 or 1, or what is
  no probability.
  """
  aligned.require_aligned(
    METRIC, labels=labels, probabilities=probabilities, users=users
  )
  label_N = _labels(labels)
  probability_N = aligned.finite_numbers(METRIC, 'probabilities', probabilities)
  if (wrong := (probability_N < 0) | (probability_N > 1)).any():
    row = int(wrong.argmax())
    raise DataError(
      f'{METRIC}: probabilities[{row}]={probability_N[row]:g}: expected 0 to 1.'
    )
  package = extras.load(
    'sklearn.metrics', extra='tasks', package='scikit-learn', use=METRIC
  )
  is_ordered = 0 < label_N.sum() < len(label_N)
  auc = float(package.roc_auc_score(label_N, probability_N)) if is_ordered else math.nan
  metrics = dict(
    auc=auc,
    log_loss=float(package.log_loss(label_N, probability_N, labels=[0, 1])),
    ndcg_at_10=math.nan,
    hit_rate_at_10=math.nan,
  )
  groups = _rows_by_user(users)
  ranked = [rows for rows in groups if 0 < label_N[rows].sum() < len(rows)]
  if ranked:
    metrics['ndcg_at_10'] = _mean_ndcg(
      package, [(label_N[rows], probability_N[rows]) for rows in ranked]
    )
    hits = [hit_chance(label_N[rows], probability_N[rows]) for rows in ranked]
    metrics['hit_rate_at_10'] = float(np.mean(hits))
  details = dict(
    num_users=len(groups),
    num_ranked_users=len(ranked),
    num_long_users=sum(len(rows) > TOP for rows in ranked),
  )
  undefined = ''
  if not is_ordered:
    undefined = f'all labels are {label_N[0]}, which leaves no order to judge'
  elif not ranked:
    undefined = 'no user has examples both with and without a click'
  return Scores(metrics, details, undefined)


def hit_chance(label_K, score_K, top=TOP):
  """Returns the chance of a click among the first `top`, ties in random order."""
  if len(label_K) <= top:
    return float(label_K.any())
  border = np.sort(score_K)[-top]  # the lowest score that is among the first
  if label_K[score_K > border].any():
    return 1.0
  is_tied_K = score_K == border
  num_tied, num_clicked = int(is_tied_K.sum()), int(label_K[is_tied_K].sum())
  places = top - int((score_K > border).sum())
  return 1 - math.comb(num_tied - num_clicked, places) / math.comb(num_tied, places)


def _mean_ndcg(package, groups):
  """Returns the mean NDCG of groups (labels, scores), one call for each length."""
  by_length = {}
  for label_K, score_K in groups:
    by_length.setdefault(len(label_K), []).append((label_K, score_K))
  total = 0.0
  for pairs in by_length.values():
    label_UK, score_UK = (np.stack(column) for column in zip(*pairs, strict=True))
    total += package.ndcg_score(label_UK, score_UK, k=TOP) * len(pairs)
  return float(total / len(groups))


def _rows_by_user(users):
  rows = {}
  for row, user in enumerate(users):
    rows.setdefault(user, []).append(row)
  return [np.array(own) for own in rows.values()]


def _labels(labels):
  for row, label in enumerate(labels):
    if label not in (0, 1):
      raise DataError(f'{METRIC}: labels[{row}]={label!r}: expected 0 or 1.')
  return np.array([int(label) for label in labels])
