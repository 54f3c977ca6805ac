"""Items and ratings of a folder as MovieLens has it: movies, ratings and tags.

Harper and Konstan, 2015 (doi.org/10.1145/2827872).
"""

import dataclasses
import difflib
import functools
import pathlib

from gpt_jax.core.errors import DataError
from gpt_jax.examples import finding, tables
from gpt_jax.examples.record import shown, value

ENCODING = 'utf-8'
NEAREST = 5  # titles that a message names
NO_GENRES = '(no genres listed)'


@dataclasses.dataclass(frozen=True)
class Rating:
  """Who rated what, how, and when."""

  user: str
  row: int
  """The item's place in the catalogue."""
  stars: float
  time: int


@dataclasses.dataclass(frozen=True)
class Catalogue:
  """All items, in the order of the file, and what people rated and tagged."""

  folder: str
  ids: tuple[str, ...]
  titles: tuple[str, ...]
  genres: tuple[str, ...]
  """Comma-separated; '' where none are known."""
  ratings: tuple[Rating, ...]
  tags: tuple[tuple[str, int, str], ...]
  """(user, row, tag)."""

  def __len__(self):
    return len(self.ids)

  def text(self, row):
    """Returns title and genres of an item, as the text model reads a candidate."""
    genres = self.genres[row]
    return f'{self.titles[row]}: {genres}' if genres else self.titles[row]

  def long_texts(self, pairs=None):
    """Returns title, genres and tags of each item.

    `pairs`: the (user, row) whose tags may be read, such as those of a training split;
    None: all.
    """
    tags = {}
    for user, row, tag in self.tags:
      if pairs is None or (user, row) in pairs:
        tags.setdefault(row, {})[tag] = None
    return [
      '. '.join([self.text(row), *([', '.join(tags[row])] if row in tags else [])])
      for row in range(len(self))
    ]

  @functools.cached_property
  def _row_of_title(self):
    return {title.casefold(): row for row, title in reversed([*enumerate(self.titles)])}

  def find(self, title):
    """Returns the row of a title, in any case; DataError with those nearest to it."""
    row = self._row_of_title.get(title.strip().casefold())
    if row is not None:
      return row
    asked = title.strip().casefold()
    near = [one for one in self._row_of_title if asked and one.startswith(asked)]
    near.sort(key=len)  # what lacks least comes first
    near += difflib.get_close_matches(asked, self._row_of_title, n=NEAREST, cutoff=0.5)
    rows = [self._row_of_title[one] for one in dict.fromkeys(near)][:NEAREST]
    listed = '; '.join(repr(self.titles[row]) for row in rows)
    hint = f'did you mean {listed}?' if rows else 'nothing there is like it.'
    raise DataError(
      f'--likes={title!r}: no such title among the {len(self):,} of'
      f' {self.folder}/movies.csv; {hint}'
    )

  def ratings_of(self, user):
    """Returns the ratings of a user in time; DataError where there are none."""
    found = self.by_user.get(str(user))
    if found is None:
      users = list(self.by_user)
      near = difflib.get_close_matches(str(user), users, n=3, cutoff=0.5)
      raise DataError(
        f'--user={user}: no such user among the {len(users):,} of'
        f' {self.folder}/ratings.csv'
        + (f'; did you mean {", ".join(near)}?' if near else '.')
        + ' A user who is not there is given by titles: --likes="...".'
      )
    return found

  @functools.cached_property
  def by_user(self):
    """{user: ratings in time}, users in the order of the file."""
    found = {}
    for rating in self.ratings:
      found.setdefault(rating.user, []).append(rating)
    return {user: sorted(own, key=lambda one: one.time) for user, own in found.items()}


def load(folder, data_dir=''):
  """Returns the Catalogue of a folder, which may lie in `data_dir` or GPT_JAX_DATA.

  movies.csv has movieId, title and genres, ratings.csv userId, movieId, rating and
  timestamp; tags.csv, of userId, movieId and tag, may be absent. Raises DataError for
  what is missing, and for a rating of an item that is not there.
  """
  (path,) = finding.find([str(folder)], data_dir)
  path = pathlib.Path(path)
  for name in ('movies.csv', 'ratings.csv'):
    if not (path / name).is_file():
      raise DataError(
        f'{path}: has no {name}; expected a folder with movies.csv (movieId, title,'
        ' genres) and ratings.csv (userId, movieId, rating, timestamp).'
      )
  items = [
    tuple(value(one.values, key, one.place) for key in ('movieId', 'title', 'genres'))
    for one in tables.read_csv_header([path / 'movies.csv'], ENCODING)
  ]
  ids, titles, genres = zip(*items, strict=True) if items else ((), (), ())
  row_of = {item: row for row, item in enumerate(ids)}
  ratings = tuple(
    _rating(one, row_of, path)
    for one in tables.read_csv_header([path / 'ratings.csv'], ENCODING)
  )
  if not ratings:
    raise DataError(f'{path / "ratings.csv"}: has no ratings, only a header.')
  known = ('' if one == NO_GENRES else one.replace('|', ', ') for one in genres)
  return Catalogue(
    str(path), ids, titles, tuple(known), ratings, tuple(_tags(path, row_of))
  )


def _rating(record, row_of, path):
  values, place = record.values, record.place
  user, item, stars, time = (
    value(values, key, place) for key in ('userId', 'movieId', 'rating', 'timestamp')
  )
  if item not in row_of:
    raise DataError(
      f'{place}: movieId={item} is not in {path / "movies.csv"}; expected an item of'
      ' that file. Give two files that belong together.'
    )
  try:
    return Rating(user, row_of[item], float(stars), int(time))
  except ValueError as error:
    raise DataError(
      f'{place}: rating={shown(stars)}, timestamp={shown(time)}; expected numbers. Mend'
      ' the row.'
    ) from error


def _tags(path, row_of):
  if not (path / 'tags.csv').is_file():
    return
  for one in tables.read_csv_header([path / 'tags.csv'], ENCODING):
    user, item, tag = (
      value(one.values, key, one.place) for key in ('userId', 'movieId', 'tag')
    )
    if item in row_of and tag.strip():
      yield user, row_of[item], tag.strip()
