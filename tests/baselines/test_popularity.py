"""Click rates are smoothed towards their mean."""

import collections

import pytest

from gpt_jax.baselines import popularity
from gpt_jax.core.errors import DataError


def test_rates_are_smoothed_as_by_hand():
  model = popularity.fit(['a', 'a', 'a', 'b'], [1, 1, 0, 0], prior_count=2)
  # The mean is 1/2: (2 + 1) / (3 + 2) and (0 + 1) / (1 + 2).
  assert model.probabilities(['a', 'b', 'new']).tolist() == pytest.approx(
    [3 / 5, 1 / 3, 1 / 2]
  )


def test_a_tiny_prior_gives_the_plain_rates():
  model = popularity.fit(['a', 'a', 'b'], [1, 0, 1], prior_count=1e-9)
  assert model.probabilities(['a', 'b']).tolist() == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize(
  'items, labels, options, message',
  [
    ([], [], {}, 'there are no examples'),
    (['a'], [2], {}, r'labels\[0\]=2: expected 0 or 1'),
    (['a'], [1], {'prior_count': 0}, 'prior_count=0'),
    (['a', 'b'], [1], {}, '2 of items, 1 of labels'),
  ],
)
def test_what_cannot_be_counted_is_refused(items, labels, options, message):
  with pytest.raises(DataError, match=message):
    popularity.fit(items, labels, **options)


def read_films(folder):
  """Returns (train, test), each users, films, labels: a click is 4 stars or more.

  The last fifth of each user's ratings, by time, are for testing.
  """
  lines = (folder / 'movielens_small' / 'ratings.csv').read_text().splitlines()[1:]
  of_user = collections.defaultdict(list)
  for line in sorted(lines, key=lambda line: int(line.rsplit(',', 1)[1])):
    user, film, stars, _ = line.split(',')
    of_user[user].append((user, film, int(float(stars) >= 4)))
  parts = [], []
  for rows in of_user.values():
    border = len(rows) * 4 // 5
    parts[0].extend(rows[:border])
    parts[1].extend(rows[border:])
  return [list(zip(*part, strict=True)) for part in parts]


@pytest.mark.shared
@pytest.mark.extra
def test_popular_films_are_liked_more_often(shared_data):
  pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
  from gpt_jax.evaluation.ranking_scores import ranking_scores

  (_, films, labels), (users, asked, wanted) = read_films(shared_data)
  model = popularity.fit(films, labels)
  metrics = ranking_scores(wanted, model.probabilities(asked), users).metrics
  constant = ranking_scores(wanted, [model.mean] * len(users), users).metrics
  assert 0.63 < metrics['auc'] < 0.68
  assert metrics['log_loss'] < constant['log_loss']
  assert metrics['ndcg_at_10'] > constant['ndcg_at_10'] + 0.05
