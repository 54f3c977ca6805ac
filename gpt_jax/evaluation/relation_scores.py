"""Scores of relations between two marked words, as SemEval-2010 task 8 defines them.

Hendrickx et al. 2010, "SemEval-2010 Task 8: Multi-Way Classification of Semantic
Relations between Pairs of Nominals", section 4.
"""

import math

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned
from gpt_jax.evaluation.scores import Scores

METRIC = 'Scores of relations'
OTHER = 'Other'
"""The label of pairs without one of the relations."""


def relation_scores(gold, predicted, names):
  """Returns the `Scores` of one predicted relation an example.

  A label is `Relation(e1,e2)`, `Relation(e2,e1)`, a relation without direction, or
  Other. Precision of a relation is correct / predicted and recall correct / gold, over
  both directions, where a wrong direction is not correct; a number that is 0 / 0 is 0.

  Metrics: macro_f1, the official score, the mean of F1 over the relations that occur in
  gold, Other excepted; macro_precision, macro_recall; micro_f1 over all relations but
  Other; label_macro_f1, the mean over the labels of gold, each direction by itself; and
  accuracy over all labels. Where gold has nothing but Other, all but accuracy are nan.
  Details: per_relation, rows of precision, recall, f1, support, predicted and
  wrong_direction; confusion, rows of counts, a row for each gold label of `names`.

  Raises DataError on no examples, or unknown labels.
  """
  aligned.require_aligned(METRIC, gold=gold, predicted=predicted)
  gold_N = aligned.label_ids(METRIC, 'gold', gold, names)
  predicted_N = aligned.label_ids(METRIC, 'predicted', predicted, names)
  L = len(names)
  confusion_LL = np.bincount(gold_N * L + predicted_N, minlength=L * L).reshape(L, L)
  rows = _rows(confusion_LL, [relation_of(name) for name in names])
  labels = _rows(confusion_LL, list(names))
  counted = [row for row in rows if row['relation'] != OTHER]
  official = [row for row in counted if row['support']]
  correct = sum(row['correct'] for row in counted)
  metrics = dict(
    macro_f1=_mean(official, 'f1'),
    macro_precision=_mean(official, 'precision'),
    macro_recall=_mean(official, 'recall'),
    micro_f1=_f1(
      _ratio(correct, sum(row['predicted'] for row in counted)),
      _ratio(correct, sum(row['support'] for row in counted)),
    ),
    label_macro_f1=_mean(
      [row for row in labels if row['relation'] != OTHER and row['support']], 'f1'
    ),
    accuracy=float(np.trace(confusion_LL) / len(gold_N)),
  )
  undefined = ''
  if not official:
    metrics |= {name: math.nan for name in metrics if name != 'accuracy'}
    undefined = f'all labels are {OTHER}, which the score leaves out'
  details = dict(names=list(names), per_relation=rows, confusion=confusion_LL.tolist())
  return Scores(metrics, details, undefined)


def relation_of(label):
  """Returns the relation of a `label`, without its direction."""
  relation, bracket, direction = label.partition('(')
  if bracket and direction not in ('e1,e2)', 'e2,e1)'):
    raise DataError(
      f'{METRIC}: label {label!r}: expected a name, alone or with (e1,e2) or (e2,e1)'
      ' after it.'
    )
  return relation


def _rows(confusion_LL, relations):
  """Returns a row of counts and scores for each of `relations`, in their order.

  Args:
    confusion_LL: counts by gold and predicted label.
    relations: the relation of each label; labels of one relation are its directions.
  """
  rows = []
  for relation in dict.fromkeys(relations):
    own = [label for label, name in enumerate(relations) if name == relation]
    correct = int(confusion_LL[own, own].sum())
    support, predicted = int(confusion_LL[own].sum()), int(confusion_LL[:, own].sum())
    precision, recall = _ratio(correct, predicted), _ratio(correct, support)
    rows.append(
      dict(
        relation=relation,
        precision=precision,
        recall=recall,
        f1=_f1(precision, recall),
        support=support,
        predicted=predicted,
        correct=correct,
        wrong_direction=int(confusion_LL[np.ix_(own, own)].sum()) - correct,
      )
    )
  return rows


def _ratio(part, whole):
  return part / whole if whole else 0.0


def _f1(precision, recall):
  return _ratio(2 * precision * recall, precision + recall)


def _mean(rows, column):
  return _ratio(sum(row[column] for row in rows), len(rows))
