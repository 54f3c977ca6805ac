"""Scores of classes are scikit-learn's; calibration is that of the evaluation step."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import metrics
from gpt_jax.evaluation.class_scores import class_scores

sklearn_metrics = pytest.importorskip('sklearn.metrics', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra

NAMES = ['red', 'green', 'blue', 'black']


@pytest.fixture
def guesses():
  """Returns gold [N], predicted [N] of three of four classes, probabilities [N, C]."""
  rng = np.random.default_rng(0)
  logits_NC = rng.normal(size=(200, 4)) * [2.0, 1.0, 1.0, 0.0] + [1.0, 1.0, 0.0, -9.0]
  probabilities_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(-1, keepdims=True)
  gold_N = rng.integers(0, 3, size=200)
  return gold_N, probabilities_NC.argmax(-1), probabilities_NC


def test_two_classes_score_as_counted_by_hand():
  # Of class 1: two right, one false alarm, one missed.
  scores = class_scores([1, 1, 1, 0, 0], [1, 1, 0, 1, 0], ['no', 'yes'])
  assert scores.metrics == pytest.approx(
    {
      'accuracy': 3 / 5,
      'f1': 2 / 3,
      'macro_f1': (2 / 3 + 1 / 2) / 2,
      'weighted_f1': (3 * 2 / 3 + 2 * 1 / 2) / 5,
    }
  )
  assert scores.details['confusion'] == [[1, 1], [1, 2]]
  assert [row['support'] for row in scores.details['per_class']] == [2, 3]


def test_the_table_is_that_of_the_package(guesses):
  gold_N, predicted_N, _ = guesses
  scores = class_scores(gold_N, [NAMES[label] for label in predicted_N], NAMES)
  report = sklearn_metrics.classification_report(
    gold_N,
    predicted_N,
    labels=range(4),
    target_names=NAMES,
    output_dict=True,
    zero_division=0,
  )
  for row in scores.details['per_class']:
    expected = report[row['name']]
    assert row['f1'] == expected['f1-score']
    assert row['precision'] == expected['precision']
    assert row['recall'] == expected['recall']
    assert row['support'] == expected['support']
  assert scores.metrics['weighted_f1'] == report['weighted avg']['f1-score']
  # Black occurs nowhere: no part of the mean.
  seen = [row['f1'] for row in scores.details['per_class'][:3]]
  assert scores.metrics['macro_f1'] == pytest.approx(np.mean(seen))
  json.dumps(scores.details)


def test_calibration_and_macro_f1_agree_with_the_evaluation_step(guesses):
  gold_N, predicted_N, probabilities_NC = guesses
  scores = class_scores(gold_N, predicted_N, NAMES, probabilities_NC)
  chosen = metrics.choose(['calibration_error', 'macro_f1'])
  sums = metrics.sums_of(
    chosen,
    jnp.log(probabilities_NC)[None].astype(jnp.float32),
    jnp.asarray(gold_N)[None],
    jnp.ones((1, len(gold_N))),
  )
  sums = {name: np.asarray(value, np.float64) for name, value in sums.items()}
  for name, value in metrics.finished(chosen, sums).items():
    assert scores.metrics[name] == pytest.approx(value, abs=1e-6)  # float32


def test_calibration_error_by_hand():
  # 0.95 in the last bin, always right; 0.7 in another, never right.
  probabilities_NC = [[0.95, 0.05], [0.95, 0.05], [0.7, 0.3]]
  scores = class_scores([0, 0, 1], [0, 0, 0], ['a', 'b'], probabilities_NC)
  assert scores.metrics['calibration_error'] == pytest.approx((2 * 0.05 + 0.7) / 3)


@pytest.mark.parametrize(
  'probabilities_NC, message',
  [
    ([[0.5, 0.5]], '2 of gold'),
    ([[0.2, 0.3, 0.5]] * 2, r'shape \(2, 3\)'),
    ([[0.5, 0.5], [2.0, -1.0]], r'probabilities\[1\]=\[2.0, -1.0\]'),
    ([[0.5, 0.5], [float('nan'), 1.0]], r'probabilities\[1\]'),
  ],
)
def test_what_are_no_probabilities_is_refused(probabilities_NC, message):
  with pytest.raises(DataError, match=message):
    class_scores([0, 1], [0, 1], ['a', 'b'], probabilities_NC)


def test_no_examples_and_unknown_labels_are_refused():
  with pytest.raises(DataError, match='there are no examples'):
    class_scores([], [], ['a', 'b'])
  with pytest.raises(DataError, match=r"predicted\[0\]='c'"):
    class_scores(['a'], ['c'], ['a', 'b'])
