"""Rankings score as scikit-learn does, and as pairs and orders counted by hand."""

import itertools
import math

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation.ranking_scores import hit_chance, ranking_scores

sklearn_metrics = pytest.importorskip('sklearn.metrics', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra


@pytest.fixture
def clicks():
  """Returns (labels, probabilities with ties, users) of users with 1 to 30 items."""
  rng = np.random.default_rng(0)
  users = np.repeat(np.arange(20), rng.integers(1, 31, size=20))
  labels = rng.integers(0, 2, size=len(users)) * (users > 0)
  return labels, rng.integers(1, 10, size=len(users)) / 10, users


def test_auc_counts_pairs_and_ties_as_half(clicks):
  labels, probabilities, users = clicks
  positive, negative = probabilities[labels == 1], probabilities[labels == 0]
  gaps = np.sign(positive[:, None] - negative[None])
  metrics = ranking_scores(labels, probabilities, users).metrics
  assert metrics['auc'] == pytest.approx((gaps.mean() + 1) / 2)
  nats = -np.log(np.where(labels == 1, probabilities, 1 - probabilities))
  assert metrics['log_loss'] == pytest.approx(nats.mean())


def test_ndcg_is_the_mean_over_users_with_an_order(clicks):
  labels, probabilities, users = clicks
  values = []
  for user in np.unique(users):
    own = users == user
    if 0 < labels[own].sum() < own.sum():
      values.append(
        sklearn_metrics.ndcg_score(labels[own][None], probabilities[own][None], k=10)
      )
  scores = ranking_scores(labels, probabilities, users)
  assert scores.metrics['ndcg_at_10'] == pytest.approx(np.mean(values))
  assert scores.details['num_users'] == 20
  assert scores.details['num_ranked_users'] == len(values) < 20


def test_the_gain_of_a_rank_is_one_over_its_logarithm():
  scores = ranking_scores([0, 1, 0], [0.9, 0.8, 0.1], ['u', 'u', 'u'])
  assert scores.metrics['ndcg_at_10'] == pytest.approx(1 / math.log2(3))


def test_the_chance_of_a_hit_is_the_mean_over_orders_of_ties():
  label_K = np.array([0, 0, 1, 0, 1, 0])
  score_K = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1])
  for top in range(1, 7):
    hits = [
      label_K[sorted(order, key=lambda item: -score_K[item])[:top]].any()
      for order in itertools.permutations(range(6))
    ]
    assert hit_chance(label_K, score_K, top) == pytest.approx(np.mean(hits))


def test_users_without_an_order_are_left_out():
  labels, users = [1, 0, 1, 1, 0, 0], ['a', 'a', 'b', 'b', 'c', 'c']
  scores = ranking_scores(labels, [0.9, 0.1, 0.2, 0.3, 0.8, 0.7], users)
  assert scores.metrics['ndcg_at_10'] == scores.metrics['hit_rate_at_10'] == 1.0
  assert scores.details == dict(num_users=3, num_ranked_users=1, num_long_users=0)


def test_without_any_order_there_is_no_mean_over_users():
  scores = ranking_scores([1, 0], [0.9, 0.1], ['a', 'b'])
  lacking = {name for name, value in scores.metrics.items() if math.isnan(value)}
  assert lacking == {'ndcg_at_10', 'hit_rate_at_10'}
  assert scores.details['num_ranked_users'] == 0 and 'no user' in scores.undefined


def test_equal_labels_leave_the_likelihood_alone():
  scores = ranking_scores([1, 1], [0.5, 0.25], ['a', 'a'])
  assert scores.metrics.pop('log_loss') == pytest.approx(math.log(8) / 2)
  assert all(map(math.isnan, scores.metrics.values())) and len(scores.metrics) == 3
  assert scores.undefined == 'all labels are 1, which leaves no order to judge'
  assert set(scores.json_metrics().values()) == {None}


@pytest.mark.parametrize(
  'labels, probabilities, message',
  [
    ([], [], 'there are no examples'),
    ([0, 2], [0.1, 0.2], r'labels\[1\]=2: expected 0 or 1'),
    ([0, 1], [0.1, 1.2], r'probabilities\[1\]=1.2: expected 0 to 1'),
    ([0, 1], [0.1, float('nan')], r'probabilities\[1\]=nan'),
  ],
)
def test_what_cannot_be_scored_is_refused(labels, probabilities, message):
  with pytest.raises(DataError, match=message):
    ranking_scores(labels, probabilities, ['u'] * len(labels))
