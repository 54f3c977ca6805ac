"""Ratings become questions about a film, with what was liked strictly before."""

import random

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import movielens

HEADER = 'userId,movieId,rating,timestamp\r\n'
MOVIES = 'movieId,title,genres\r\n' + ''.join(
  f'{i},"Film {i}, The",Drama\r\n' for i in range(30)
)


def ratings():
  """Returns shuffled (user, film, stars, second); many of a user in one second."""
  rng = random.Random(0)
  rows = [
    (user, item, rng.randrange(1, 11) / 2, rng.randrange(12))
    for user in range(4)
    for item in rng.sample(range(30), 25)
  ]
  rng.shuffle(rows)
  return rows


def write_set(write, rows, movies=MOVIES):
  body = ''.join(f'{",".join(map(str, row))}\r\n' for row in rows)
  write('ml/movies.csv', movies)
  return write('ml/ratings.csv', HEADER + body).parent


def test_a_history_is_all_that_was_liked_before(write):
  rows = ratings()
  found = list(movielens.read([write_set(write, rows)], 'utf-8'))
  for record in found:
    one = record.values
    user, item, now = int(one['user']), int(one['item']), one['timestamp']
    (stars,) = [row[2] for row in rows if row[:2] == (user, item)]
    assert one['label'] == (stars >= 4)
    assert one['candidate'] == f'Film {item}, The'
    before = sorted(
      (row for row in rows if row[0] == user and row[2] >= 4 and row[3] < now),
      key=lambda row: row[3],
    )
    assert one['history'] == [f'Film {row[1]}, The' for row in before][-10:]
  with_history = [
    row
    for row in rows
    if any(one[0] == row[0] and one[2] >= 4 and one[3] < row[3] for one in rows)
  ]
  assert len(found) == len(with_history)
  times = [(record.values['user'], record.values['timestamp']) for record in found]
  assert all(
    a[0] != b[0] or a[1] <= b[1] for a, b in zip(times, times[1:], strict=False)
  )


def test_two_files_are_as_good_as_their_folder(write):
  folder = write_set(write, ratings())
  paths = [folder / 'ratings.csv', folder / 'movies.csv']
  of_folder = list(movielens.read([folder], 'utf-8'))
  assert list(movielens.read(paths, 'utf-8')) == of_folder
  assert list(movielens.read(paths[::-1], 'utf-8')) == of_folder


@pytest.mark.parametrize(
  'rows, message',
  [
    ([(1, 77, 4.0, 5)], 'line 2: movieId=77 is not in .*movies.csv'),
    ([(1, 2, 'good', 5)], "line 2: rating='good', timestamp='5'; expected numbers"),
  ],
)
def test_ratings_that_cannot_be_are_named(write, rows, message):
  with pytest.raises(DataError, match=message):
    list(movielens.read([write_set(write, rows)], 'utf-8'))


def test_a_folder_without_the_films_is_named(write):
  folder = write_set(write, ratings())
  (folder / 'movies.csv').unlink()
  with pytest.raises(DataError, match='has no movies.csv; expected a folder with'):
    list(movielens.read([folder], 'utf-8'))
