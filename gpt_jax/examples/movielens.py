"""MovieLens: will a user like a film, given those that they liked before?

Harper and Konstan, 2015 (doi.org/10.1145/2827872).
"""

from gpt_jax.core.errors import DataError
from gpt_jax.examples import tables
from gpt_jax.examples.record import Record, shown, value

LIKED = 4.0
"""The rating, of 0.5 to 5 stars, from which on a film counts as liked."""
HISTORY = 10
"""Films of a history at most."""


def read(paths, encoding):
  """Yields a record for each rating whose user liked another film before it.

  {'user', 'history', 'candidate', 'item', 'label', 'timestamp'}: `history` has the
  titles of the last films that the user liked, the most recent last, all of them rated
  strictly earlier (ratings of one second are no order); `item` is the film's id,
  `label` 1 where the user liked it. Users in the order of the file, ratings of one in
  time. `paths` is a folder, or ratings.csv and movies.csv.
  """
  ratings_path, movies_path = _two_files(paths)
  titles = {
    value(record.values, 'movieId', record.place): value(
      record.values, 'title', record.place
    )
    for record in tables.read_csv_header([movies_path], encoding)
  }
  of_user = {}
  for record in tables.read_csv_header([ratings_path], encoding):
    rating = _rating(record)
    if rating[1] not in titles:
      raise DataError(
        f'{record.place}: movieId={rating[1]} is not in {movies_path}; expected a film'
        ' of that file. Give two files that belong together.'
      )
    of_user.setdefault(record.values['userId'], []).append((*rating, record.place))
  for user, ratings in of_user.items():
    yield from _of_user(user, sorted(ratings, key=lambda one: one[0]), titles)


def _of_user(user, ratings, titles):
  liked, waiting = [], []  # titles before this second; those of it
  now = None
  for time, item, stars, place in ratings:
    if time != now:
      liked, waiting, now = (liked + waiting)[-HISTORY:], [], time
    if liked:
      values = {'user': user, 'history': list(liked), 'candidate': titles[item]}
      values |= {'item': item, 'label': int(stars >= LIKED), 'timestamp': time}
      yield Record(values, place)
    if stars >= LIKED:
      waiting.append(titles[item])


def _rating(record):
  """Returns (timestamp, item, stars) of a row."""
  values, place = record.values, record.place
  value(values, 'userId', place)
  found = [value(values, key, place) for key in ('timestamp', 'movieId', 'rating')]
  try:
    return int(found[0]), found[1], float(found[2])
  except ValueError as error:
    raise DataError(
      f'{place}: rating={shown(found[2])}, timestamp={shown(found[0])}; expected'
      ' numbers. Mend the row.'
    ) from error


def _two_files(paths):
  if len(paths) == 1 and paths[0].is_dir():
    found = [paths[0] / name for name in ('ratings.csv', 'movies.csv')]
  else:
    found = sorted(paths, key=lambda path: 'movies' in path.name)
  missing = [path.name for path in found if not path.is_file()]
  if len(found) != 2 or missing:
    listed = ', '.join(str(path) for path in paths)
    raise DataError(
      f'task.reader=movielens: {listed}'
      + (f' has no {" and no ".join(missing)}' if missing else '')
      + '; expected a folder with ratings.csv and movies.csv, or these two files.'
    )
  return found
