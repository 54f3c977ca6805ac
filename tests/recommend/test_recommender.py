"""Two stages: the text model orders the first candidates, and nothing is lost."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.recommend.ranker import Ranker
from gpt_jax.recommend.recommender import CANDIDATES, FUSED, TEXT, Recommender
from gpt_jax.recommend.split import Case
from tests.recommend.test_ranker import Run

CASE = Case('x', (0, 1), frozenset({0, 1}), frozenset())


@pytest.fixture(scope='module')
def made(items, parts):
  vectors = np.eye(len(items))
  ranker = Ranker(Run(), items)
  histories = list(parts.train.values())
  return Recommender(items, histories, vectors_ID=vectors, ranker=ranker, count=20)


def test_every_method_orders_every_unseen_item(made, items):
  orders = made.orders([CASE])
  assert list(orders) == made.methods and len(orders) == 7
  for order in (own[0] for own in orders.values()):
    assert sorted(order) == list(range(2, len(items)))


def test_the_text_model_orders_the_first_candidates_alone(made, items):
  orders = made.orders([CASE], [CANDIDATES, TEXT, FUSED])
  staged, by_text, fused = (orders[name][0] for name in (CANDIDATES, TEXT, FUSED))
  assert set(by_text[:20]) == set(fused[:20]) == set(staged[:20])
  assert list(by_text[20:]) == list(fused[20:]) == list(staged[20:])
  of_war = [15 <= row < 30 for row in by_text[:20]]
  assert of_war == sorted(of_war, reverse=True)
  # Fused: what both put first is first.
  assert list(fused) not in (list(by_text), list(staged))


def test_known_items_are_not_recommended(made):
  found = made.recommend(CASE, 'co-occurrence', 5)
  assert len(found) == 5 and not {0, 1} & set(found)
  assert all(row < 15 for row in found)  # comedies, to one who likes these


def test_more_than_there_are_and_unknown_methods_are_refused(made):
  with pytest.raises(ConfigError, match='--top=30: expected 1 to 29'):
    made.recommend(CASE, 'popularity', 30)
  with pytest.raises(ConfigError, match="did you mean 'popularity'"):
    made.orders([CASE], ['popularty'])
