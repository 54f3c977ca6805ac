"""Scores of relations follow the definition of SemEval-2010 task 8, counted by hand."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import scores
from gpt_jax.evaluation.relation_scores import relation_scores

A, A2 = 'Cause-Effect(e1,e2)', 'Cause-Effect(e2,e1)'
B, B2 = 'Entity-Origin(e1,e2)', 'Entity-Origin(e2,e1)'
NAMES = [A, A2, B, B2, 'Other']


def labels_of(counts):
  """Returns (gold, predicted), as often as `counts` {(gold, predicted): n} says."""
  pairs = [pair for pair, count in counts.items() for _ in range(count)]
  return [gold for gold, _ in pairs], [predicted for _, predicted in pairs]


def test_a_small_confusion_table_scores_as_by_hand():
  gold, predicted = labels_of(
    {
      (A, A): 5,
      (A2, A2): 2,
      (A, A2): 1,  # the wrong direction
      (A, B): 1,
      (A2, 'Other'): 1,
      (B, B): 3,
      (B, B2): 2,  # the wrong direction
      (B2, A): 1,
      ('Other', 'Other'): 4,
      ('Other', B2): 2,
    }
  )
  scores = relation_scores(gold, predicted, NAMES)
  # Cause-Effect: 7 of 9 predicted, 7 of 10 in gold; Entity-Origin: 3 of 8, 3 of 6.
  f1_a, f1_b = 2 * 7 / (9 + 10), 2 * 3 / (8 + 6)
  assert scores.metrics['macro_f1'] == pytest.approx((f1_a + f1_b) / 2)
  assert scores.metrics['macro_precision'] == pytest.approx((7 / 9 + 3 / 8) / 2)
  assert scores.metrics['macro_recall'] == pytest.approx((7 / 10 + 3 / 6) / 2)
  assert scores.metrics['micro_f1'] == pytest.approx(2 * 10 / (17 + 16))
  assert scores.metrics['accuracy'] == pytest.approx(14 / 22)
  rows = {row['relation']: row for row in scores.details['per_relation']}
  assert rows['Cause-Effect']['wrong_direction'] == 1
  assert rows['Entity-Origin']['wrong_direction'] == 2
  assert rows['Other']['f1'] == pytest.approx(2 * 4 / (5 + 6))


def test_a_wrong_direction_is_wrong_and_changes_nothing_else():
  right, _ = labels_of({(A, A): 4, (B, B): 4})
  turned = [A2, *right[1:]]
  other = [B, *right[1:]]
  of_turned = relation_scores(right, turned, NAMES).metrics
  of_other = relation_scores(right, other, NAMES).metrics
  # Precision and recall 3/4 of one relation; another relation loses precision as well.
  assert of_turned['macro_f1'] == pytest.approx((3 / 4 + 1) / 2)
  assert of_other['macro_f1'] < of_turned['macro_f1']
  assert of_other['accuracy'] == of_turned['accuracy'] == 7 / 8


def test_perfect_predictions_score_one_and_other_alone_zero():
  gold = [*NAMES, 'Other']
  assert set(relation_scores(gold, gold, NAMES).metrics.values()) == {1.0}
  lazy = relation_scores(gold, ['Other'] * 6, NAMES).metrics
  assert lazy['macro_f1'] == lazy['micro_f1'] == 0.0
  assert lazy['accuracy'] == 2 / 6


def test_a_relation_that_gold_lacks_is_no_part_of_the_mean():
  scores = relation_scores([A, A, A], [A, A, B], NAMES).metrics
  assert scores['macro_f1'] == pytest.approx(2 * 2 / (2 + 3))


def test_gold_of_other_alone_leaves_the_accuracy():
  scores = relation_scores(['Other', 'Other'], ['Other', A], NAMES)
  expected = dict.fromkeys(scores.metrics) | {'accuracy': 0.5}
  assert scores.json_metrics() == expected and 'Other' in scores.undefined


def random_labels(names, seed=0):
  rng = np.random.default_rng(seed)
  gold = rng.choice(names, size=300)
  kept = rng.random(300) < 0.6
  return list(gold), list(np.where(kept, gold, rng.choice(names, size=300)))


@pytest.mark.extra
def test_relations_without_direction_score_as_in_scikit_learn():
  package = pytest.importorskip('sklearn.metrics', reason='needs gpt_jax[tasks]')
  names = ['born in', 'works for', 'part of', 'Other']
  gold, predicted = random_labels(names)
  scores = relation_scores(gold, predicted, names).metrics
  for metric, average in (('macro_f1', 'macro'), ('micro_f1', 'micro')):
    assert scores[metric] == pytest.approx(
      package.f1_score(gold, predicted, labels=names[:3], average=average)
    )
  assert scores['label_macro_f1'] == scores['macro_f1']


@pytest.mark.extra
def test_each_direction_by_itself_scores_as_in_scikit_learn():
  package = pytest.importorskip('sklearn.metrics', reason='needs gpt_jax[tasks]')
  gold, predicted = random_labels(NAMES, seed=1)
  scores = relation_scores(gold, predicted, NAMES)
  assert scores.metrics['label_macro_f1'] == pytest.approx(
    package.f1_score(gold, predicted, labels=NAMES[:4], average='macro')
  )
  assert scores.metrics['accuracy'] == package.accuracy_score(gold, predicted)
  expected = package.confusion_matrix(gold, predicted, labels=NAMES)
  assert scores.details['confusion'] == expected.tolist()


@pytest.mark.parametrize(
  'gold, predicted, names, message',
  [
    ([], [], NAMES, 'there are no examples'),
    ([A], ['Cause-Effect'], NAMES, 'unknown label'),
    (['R(e2)'], ['R(e2)'], ['R(e2)', 'Other'], r"'R\(e2\)': expected a name"),
  ],
)
def test_what_cannot_be_scored_is_refused(gold, predicted, names, message):
  with pytest.raises(DataError, match=message):
    relation_scores(gold, predicted, names)


def test_tables_of_details_are_lists_of_equal_rows():
  rows = [dict(name='a', f1=0.5), dict(name='b', f1=0.25)]
  details = dict(rows=rows, uneven=[dict(a=1), dict(b=1)], empty=[], counts=[[1]], n=1)
  assert scores.tables_of(details) == {'rows': rows}
