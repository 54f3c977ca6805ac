"""Scores of predicted classes: accuracy, F1, a table for each class, calibration."""

import numpy as np

from gpt_jax.core import extras
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned
from gpt_jax.evaluation.metrics import CALIBRATION_BINS
from gpt_jax.evaluation.scores import Scores

METRIC = 'Scores of classes'


def class_scores(gold, predicted, names, probabilities_NC=None):
  """Returns the `Scores` of one predicted class an example, by scikit-learn.

  Metrics: accuracy; macro_f1, the mean over classes that occur in gold or predictions;
  weighted_f1, weighted by how often gold has a class; with two classes also f1, of the
  second one; with probabilities calibration_error. A precision or recall of 0 / 0 is 0.
  Details: names; per_class, rows of precision, recall, f1 and support; confusion, rows
  of counts [C, C], a row for each gold class.

  Args:
    gold: N labels, each a name or its position in `names`.
    predicted: as `gold`.
    names: the C classes in their order.
    probabilities_NC: of each class in this order; its likeliest class, not `predicted`,
      is what the calibration error judges.

  Raises DataError on no examples, unknown labels, or what are no probabilities.
  """
  aligned.require_aligned(
    METRIC, gold=gold, predicted=predicted, probabilities=probabilities_NC
  )
  gold_N = aligned.label_ids(METRIC, 'gold', gold, names)
  predicted_N = aligned.label_ids(METRIC, 'predicted', predicted, names)
  package = extras.load(
    'sklearn.metrics', extra='tasks', package='scikit-learn', use=METRIC
  )

  def f1(average):
    return float(
      package.f1_score(gold_N, predicted_N, average=average, zero_division=0)
    )

  metrics = dict(
    accuracy=float(package.accuracy_score(gold_N, predicted_N)),
    macro_f1=f1('macro'),
    weighted_f1=f1('weighted'),
  )
  if len(names) == 2:
    metrics['f1'] = f1('binary')
  if probabilities_NC is not None:
    probabilities_NC = _probabilities(probabilities_NC, len(names))
    metrics['calibration_error'] = calibration_error(gold_N, probabilities_NC)
  classes = range(len(names))
  confusion_CC = package.confusion_matrix(gold_N, predicted_N, labels=classes)
  columns = package.precision_recall_fscore_support(
    gold_N, predicted_N, labels=classes, zero_division=0
  )
  per_class = [
    dict(name=name, precision=float(p), recall=float(r), f1=float(f), support=int(n))
    for name, p, r, f, n in zip(names, *columns, strict=True)
  ]
  return Scores(
    metrics,
    dict(names=list(names), per_class=per_class, confusion=confusion_CC.tolist()),
  )


def calibration_error(gold_N, probabilities_NC):
  """Returns the expected calibration error, arXiv:1706.04599, eq. 3.

  That of `evaluation/metrics.py`, from probabilities on the host: bins of equal width
  that include their upper end.
  """
  confidence_N = probabilities_NC.max(axis=-1)
  is_correct_N = probabilities_NC.argmax(axis=-1) == gold_N
  bin_N = np.clip(
    np.ceil(confidence_N * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1
  ).astype(int)
  # Of each bin, count / N * |mean of correct - mean of confidence|.
  gaps = np.bincount(bin_N, weights=is_correct_N - confidence_N)
  return float(np.abs(gaps).sum() / len(gold_N))


def _probabilities(probabilities_NC, num_classes):
  probabilities_NC = np.asarray(probabilities_NC, np.float64)
  N = len(probabilities_NC)
  if probabilities_NC.shape != (N, num_classes):
    raise DataError(
      f'{METRIC}: probabilities have shape {probabilities_NC.shape}: expected'
      f' {(N, num_classes)}, one for each class.'
    )
  # 1e-3: rows that a model computed in bfloat16.
  is_wrong_N = ~(
    (probabilities_NC >= 0).all(-1) & (np.abs(probabilities_NC.sum(-1) - 1) < 1e-3)
  )
  if is_wrong_N.any():
    row = int(is_wrong_N.argmax())
    raise DataError(
      f'{METRIC}: probabilities[{row}]={probabilities_NC[row].tolist()}: expected'
      ' numbers from 0 that add up to 1; apply softmax to logits first.'
    )
  return probabilities_NC
