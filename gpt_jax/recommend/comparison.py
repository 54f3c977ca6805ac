"""All methods on all groups of users: what `gpt-jax recommend evaluate` writes."""

import dataclasses

import numpy as np

from gpt_jax.recommend import evaluation
from gpt_jax.recommend.recommender import CANDIDATES, FUSED, TEXT

KNOWN = 'known users'
VALIDATION = 'validation'
RARE = 2
"""An item that at most so many people liked in the training is rare."""
RIVALS = ('popularity', 'matrix factorization')
METRIC = evaluation.METRICS[0]


@dataclasses.dataclass
class Group:
  """Scores of each method on one group of users."""

  users: int
  methods: dict
  """{method: {metric: (mean, deviation over seeds)}}."""
  rare: dict
  """The same, of what is relevant the rare items alone; {} where there are none."""
  rare_users: int
  candidate_recall: float
  """Share of what is relevant that is among the candidates: no ranker finds more."""
  verdicts: list
  per_user: dict
  """{method: [METRIC of each user, the mean over seeds]}."""


def groups_of(split, limit, seed=0):
  """Returns {name: cases}, at most `limit` drawn of each; empty groups are left out."""
  found = {VALIDATION: split.validation, KNOWN: split.test}
  found |= {new_name(count): cases for count, cases in split.new.items()}
  rng = np.random.default_rng(seed)
  chosen = {}
  for name, cases in found.items():
    order = sorted(rng.permutation(len(cases))[:limit])
    if order:
      chosen[name] = [cases[number] for number in order]
  return chosen


def new_name(count):
  """Returns what the group of new users with `count` liked items is called."""
  return f'new users, {count} liked'


def rare_items(split, num_items):
  """Returns the rows that at most RARE people liked in the training."""
  counts_I = np.zeros(num_items, int)
  for history in split.train.values():
    counts_I[list(history)] += 1
  return frozenset(np.flatnonzero(counts_I <= RARE).tolist())


def compare(orders_of_seeds, cases, rare, count):
  """Returns the Group of one group of users.

  Args:
    orders_of_seeds: for each seed {method: [order of each case]}.
    rare: rows of rare items.
    count: candidates that the text model orders.
  """
  methods, rare_scores, per_user, rare_users = {}, {}, {}, 0
  for name in orders_of_seeds[0]:
    values = [evaluation.of_users(orders[name], cases) for orders in orders_of_seeds]
    methods[name] = evaluation.summary(values)
    per_user[name] = np.mean([one[METRIC] for one in values], axis=0).tolist()
    own = [evaluation.of_users(orders[name], cases, rare) for orders in orders_of_seeds]
    rare_users = len(own[0][METRIC])
    if rare_users:
      rare_scores[name] = evaluation.summary(own)
  staged = orders_of_seeds[0][CANDIDATES]
  shares = [
    len(case.relevant & set(order[:count].tolist())) / len(case.relevant)
    for order, case in zip(staged, cases, strict=True)
  ]
  verdicts = []
  for own in (TEXT, FUSED):
    if own in methods:
      verdicts += evaluation.verdict(per_user, own, (*RIVALS, CANDIDATES))
  return Group(
    len(cases), methods, rare_scores, rare_users, float(np.mean(shares)), verdicts,
    per_user,
  )  # fmt: skip


def best_method(group):
  """Returns the method with the highest mean of METRIC, such as on the validation."""
  return max(group.methods, key=lambda name: group.methods[name][METRIC][0])
