"""Clicks on candidates: what is read, scores of rankings, baselines, a training."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation.ranking_scores import ranking_scores
from tests.tasks import small_tasks

EXTRA = 'the scores of rankings need scikit-learn (the extra tasks)'
RECORD = small_tasks.record(
  user='7', history=['Alien', 'Heat'], candidate='Up', item='9', label='1'
)


def made(**fields):
  named = {name.replace('__', '.'): value for name, value in fields.items()}
  return small_tasks.made('recommendation', 'class_labels', named)


def test_history_and_candidate_are_read_and_the_click_is_learned():
  task, encoder = made()
  (row,) = task.encode(RECORD, encoder, True)
  assert bytes(row.tokens[:-1].astype(np.uint8)) == b'Alien; Heat\nUp'
  assert row.fields['labels'].tolist() == [-1] * (len(row.tokens) - 1) + [1]
  assert row.fields['token_types'].sum() == len('Up') + 1
  assert task.num_outputs == 2


def test_a_long_history_loses_its_oldest_films():
  task, encoder = made(data__seq_len=10, task__too_long='truncate_left')
  (row,) = task.encode(RECORD, encoder, True)
  assert bytes(row.tokens[:-1].astype(np.uint8)) == b'; Heat\nUp'


def test_a_prediction_is_the_probability_of_a_click():
  task, _ = made()
  outputs = [{'outputs': np.array([0.0, 2.0])}]
  found = task.decode(RECORD, [None], outputs)
  assert found == {'score': pytest.approx(1 / (1 + np.exp(-2.0)))}


@pytest.mark.extra
def test_scores_are_those_of_each_users_ranking():
  pytest.importorskip('sklearn', reason=EXTRA)
  task, _ = made()
  rng = np.random.default_rng(0)
  users, labels = rng.integers(0, 3, 30).tolist(), rng.integers(0, 2, 30).tolist()
  scores = rng.random(30).tolist()
  records = [
    small_tasks.record(history=['A'], candidate='B', user=user, label=label)
    for user, label in zip(users, labels, strict=True)
  ]
  found = task.score(records, [{'score': score} for score in scores])
  assert found.metrics == ranking_scores(labels, scores, users).metrics
  assert {*found.metrics} == {*task.metrics}


def test_baselines_know_popular_items_and_users():
  task, _ = made()

  def rating(user, item, label):
    return small_tasks.record(
      user=user, item=item, candidate=item, history=['A'], label=label
    )

  # Everybody likes item a, nobody b; user 2 likes none.
  train = [rating(user, item, int(item == 'a' and user < 2)) for user in range(3)
           for item in 'ab'] * 5  # fmt: skip
  asked = [rating(0, 'a', None), rating(0, 'b', None), rating(2, 'a', None)]
  found = task.baselines(train, asked)
  popular, factors = (
    [one['score'] for one in found[name]]
    for name in ('popularity', 'matrix factorization')
  )
  assert popular[0] == popular[2] > popular[1]
  assert factors[0] > factors[2] and factors[0] > factors[1]
  # Records without ids: the title is the item, each record its own user.
  bare = [small_tasks.record(history=['A'], candidate=c, label=1) for c in 'xy']
  assert len(task.baselines(bare, bare)['popularity']) == 2


@pytest.mark.parametrize(
  'values, message',
  [
    (dict(history='Alien', candidate='Up'), 'expected a list of titles'),
    (dict(history=[], candidate='Up'), 'expected a list of titles'),
    (dict(history=['Alien']), "has no 'candidate'"),
    (dict(history=['Alien'], candidate='Up', label='2'), 'expected one of 0, 1'),
  ],
)
def test_bad_records_are_refused(values, message):
  task, _ = made()
  with pytest.raises(DataError, match=f'line 1: .*{message}'):
    task.check(small_tasks.record(**values))


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.parametrize('attention', ['bidirectional', 'causal'])
def test_what_a_user_likes_is_learned(attention, tmp_path):
  pytest.importorskip('sklearn', reason=EXTRA)
  rng = np.random.default_rng(0)
  records = []
  for number in range(64):
    candidate = str(rng.choice(['xx', 'yy']))
    records.append(
      dict(user=number % 4, history=['pp', 'qq'], candidate=candidate)
      | dict(label=int(candidate == 'xx'))
    )
  path = small_tasks.write(tmp_path / 'a.jsonl', records)
  options = {
    'train.steps': 40, 'objective.options.attention': attention,
    'objective.options.pooling': 'mean',
  }  # fmt: skip
  metrics, predictions = small_tasks.train(
    'recommendation', 'class_labels', path, tmp_path / 'run', options
  )
  assert metrics['auc'] > 0.95 and metrics['log_loss'] < 0.5
  assert 0 <= predictions[0]['prediction']['score'] <= 1
