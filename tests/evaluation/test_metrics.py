"""Metrics of outputs against scikit-learn, where it is installed, and by hand."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.evaluation import metrics
from tests import tiny_runs


def predictions(rows=6, time=20, classes=7):
  rng = np.random.default_rng(0)
  outputs = rng.normal(size=(rows, time, classes)).astype(np.float32)
  targets = rng.integers(0, classes - 1, (rows, time))  # one class never occurs
  weights = (rng.uniform(size=(rows, time)) < 0.7).astype(np.float32)
  return outputs, targets, weights


def scores(name, parts):
  """Returns the values of a metric summed over `parts`, as over batches."""
  chosen = metrics.choose([name])
  total = {}
  for part in parts:
    for key, value in metrics.sums_of(chosen, *part).items():
      total[key] = total.get(key, 0.0) + np.asarray(value, np.float64)
  return metrics.finished(chosen, total)


def score(name, parts):
  return scores(name, parts)[name]


@pytest.mark.parametrize('name', sorted(metrics.METRICS))
def test_a_metric_of_batches_is_that_of_the_set(name):
  outputs, targets, weights = predictions()
  parts = [
    (outputs[i : i + 2], targets[i : i + 2], weights[i : i + 2]) for i in (0, 2, 4)
  ]
  together = scores(name, [(outputs, targets, weights)])
  assert scores(name, parts) == pytest.approx(together, rel=1e-6)


def test_macro_f1_is_that_of_scikit_learn():
  sklearn = pytest.importorskip('sklearn.metrics', reason='needs scikit-learn')
  outputs, targets, weights = predictions()
  kept = weights > 0
  expected = sklearn.f1_score(targets[kept], outputs.argmax(-1)[kept], average='macro')
  found = score('macro_f1', [(outputs, targets, weights)])
  assert found == pytest.approx(expected, rel=1e-6)


def test_macro_f1_by_hand():
  # Class 0: found twice, once rightly, of one; class 1: never found, of one.
  outputs = np.array([[[1.0, 0.0, -9.0], [1.0, 0.0, -9.0]]], np.float32)
  found = score('macro_f1', [(outputs, np.array([[0, 1]]), np.ones((1, 2)))])
  assert found == pytest.approx((2 / 3 + 0) / 2)


def test_top5_accuracy_counts_the_five_likeliest():
  outputs, targets, weights = predictions()
  best = np.argsort(-outputs, axis=-1)[..., :5]
  hits = (best == targets[..., None]).any(-1)
  expected = (hits * weights).sum() / weights.sum()
  found = score('top5_accuracy', [(outputs, targets, weights)])
  assert found == pytest.approx(expected)


def test_calibration_error_by_its_definition():
  outputs, targets, weights = predictions()
  exp = np.exp(outputs)
  shares = exp / exp.sum(-1, keepdims=True)
  confidence, right = shares.max(-1), shares.argmax(-1) == targets
  edges = np.linspace(0, 1, 16)
  total = 0.0
  for low, high in zip(edges[:-1], edges[1:], strict=True):
    inside = weights * ((confidence > low) & (confidence <= high))
    total += abs((inside * right).sum() - (inside * confidence).sum())
  found = score('calibration_error', [(outputs, targets, weights)])
  assert found == pytest.approx(total / weights.sum(), rel=1e-5)


def test_a_misspelt_metric_names_the_nearest_one():
  with pytest.raises(ConfigError, match="did you mean 'macro_f1'"):
    tiny_runs.tiny_config({'eval.metrics': ('macro_f2',)})


def test_loss_by_position_has_the_mean_of_each_stretch():
  rng = np.random.default_rng(0)
  outputs = rng.normal(size=(3, 11, 5)).astype(np.float32)
  targets = rng.integers(0, 5, (3, 11))
  weights = rng.integers(0, 2, (3, 11)).astype(np.float32)
  weights[:, 4:7] = 0  # a stretch without targets
  weights[:, 0] = weights[:, 10] = 1
  log_probs = outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))
  nats = -np.take_along_axis(log_probs, targets[..., None], -1)[..., 0]

  def mean(first, last):
    part = slice(first - 1, last)
    return np.average(nats[:, part], weights=weights[:, part])

  found = scores('loss_by_position', [(outputs, targets, weights)])
  expected = {
    'loss_after_1': mean(1, 1),
    'loss_after_2_to_3': mean(2, 3),
    'loss_after_4_to_7': mean(4, 4),
    'loss_after_8_to_11': mean(8, 11),
    'icl_score': mean(11, 11) - mean(1, 1),  # 500 and 50 of 512: 10.7 and 1.1 of 11
  }
  assert found == pytest.approx(expected, rel=1e-5)


def test_the_icl_score_of_512_tokens_is_between_500_and_50():
  nats = np.arange(1.0, 513.0)
  metric = metrics.METRICS['loss_by_position']
  assert metric.finish(dict(nats=nats, weight=np.ones(512)))['icl_score'] == 450
