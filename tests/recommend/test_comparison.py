"""The comparison of methods by groups of users."""

import numpy as np
import pytest

from gpt_jax.recommend import comparison
from gpt_jax.recommend.ranker import Ranker
from gpt_jax.recommend.recommender import CANDIDATES, TEXT, Recommender
from tests.recommend.test_ranker import Run


def test_groups_are_drawn_once_and_bounded(parts):
  found = comparison.groups_of(parts, 10)
  again = comparison.groups_of(parts, 10)
  assert found == again
  assert list(found)[:2] == ['validation', 'known users']
  assert all(1 <= len(own) <= 10 for own in found.values())


def test_rare_items_are_those_of_few_people(items, parts):
  rare = comparison.rare_items(parts, len(items))
  counts = np.bincount(np.concatenate(list(parts.train.values())), minlength=31)
  assert rare == {row for row in range(31) if counts[row] <= 2} and 30 in rare


def test_methods_are_compared_over_seeds(items, parts):
  histories = list(parts.train.values())
  made = [
    Recommender(items, histories, ranker=Ranker(Run(), items), count=8, seed=seed)
    for seed in (0, 1)
  ]
  cases = parts.test
  found = comparison.compare([one.orders(cases) for one in made], cases, frozenset(), 8)
  assert found.users == len(cases) and found.rare == {}
  assert set(found.methods) == set(made[0].methods)
  mean, deviation = found.methods['popularity']['ndcg_at_10']
  assert deviation == 0 and mean == pytest.approx(np.mean(found.per_user['popularity']))
  assert 0 < found.candidate_recall <= 1
  assert len(found.verdicts) == 6 and found.verdicts[0].startswith(TEXT)
  assert comparison.best_method(found) in found.methods
  assert found.methods[CANDIDATES]['recall_at_10'][0] <= 1
