"""Metrics against scikit-learn, and verdicts that know what is chance."""

import numpy as np
import pytest
from sklearn import metrics

from gpt_jax.recommend import evaluation
from gpt_jax.recommend.split import Case


@pytest.mark.parametrize('num_relevant', [1, 4, 15])
def test_metrics_are_those_of_scikit_learn(num_relevant):
  rng = np.random.default_rng(num_relevant)
  order = rng.permutation(40)
  relevant = frozenset(rng.choice(40, num_relevant, replace=False).tolist())
  scores, labels = np.zeros(40), np.zeros(40)
  scores[order] = np.arange(40, 0, -1)
  labels[list(relevant)] = 1
  found = evaluation.of_order(order, relevant)
  want = metrics.ndcg_score([labels], [scores], k=10)
  assert found['ndcg_at_10'] == pytest.approx(want)
  assert found['auc'] == pytest.approx(metrics.roc_auc_score(labels, scores))
  hits = len(relevant & set(order[:10].tolist()))
  assert found['recall_at_10'] == hits / min(10, num_relevant)


def test_users_without_a_kept_item_are_left_out():
  cases = [
    Case('a', (0,), frozenset({0}), frozenset({1, 2})),
    Case('b', (0,), frozenset({0}), frozenset({3})),
  ]
  orders = [[1, 2, 3], [3, 1, 2]]
  assert len(evaluation.of_users(orders, cases)['auc']) == 2
  found = evaluation.of_users(orders, cases, keep={2})
  assert found['auc'] == [0.5]


def test_a_verdict_says_better_only_beyond_chance():
  rng = np.random.default_rng(0)
  base = rng.random(200)
  values = {'own': (base + 0.1).tolist(), 'low': base.tolist()}
  values['noise'] = (base + 0.1 + rng.normal(0, 0.5, 200) * 0.1).tolist()
  better, same = evaluation.verdict(values, 'own', ['low', 'noise'])
  assert 'own is better than low' in better and '+0.1000' in better
  assert 'no different from noise' in same


def test_the_deviation_is_that_of_seeds():
  one, other = ({name: [v] for name in evaluation.METRICS} for v in (0.2, 0.4))
  mean, deviation = evaluation.summary([one, other])['auc']
  assert mean == pytest.approx(0.3) and deviation == pytest.approx(0.2 / 2**0.5)
  assert evaluation.summary([one])['auc'] == (0.2, 0.0)
