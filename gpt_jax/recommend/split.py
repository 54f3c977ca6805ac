"""Who is known when: a split by time in each user, and users who are new.

A fifth of the users, by a hash of their ids, have no rating in the training: they are
given by the first few items that they liked. Of the others the first 80 % of the
ratings are learned from, the next 10 % are the validation, the last 10 % the test. What
a user rated in one second stays together, in the later part.
"""

import dataclasses
import hashlib

from gpt_jax.core.errors import DataError

LIKED = 4.0
"""The rating from which on an item counts as liked, as in `examples/movielens.py`."""
NEW_USERS = 0.2
BOUNDS = (0.8, 0.9)
NEW_COUNTS = (1, 3, 10)
"""How many liked items a new user is given by."""


@dataclasses.dataclass(frozen=True)
class Case:
  """A user at a moment: what they liked and rated before, and what they liked after."""

  user: str
  history: tuple[int, ...]
  """Rows of liked items, the most recent last."""
  seen: frozenset
  """Rows of all items rated before: no candidates any more."""
  relevant: frozenset
  """Rows liked later."""


@dataclasses.dataclass(frozen=True)
class Split:
  """Training histories by user, and cases to be judged by."""

  train: dict[str, tuple[int, ...]]
  """Rows that a known user liked, in time."""
  rated: frozenset
  """(user, row) of all training ratings."""
  validation: tuple[Case, ...]
  test: tuple[Case, ...]
  new: dict[int, tuple[Case, ...]]
  """Count of liked items -> cases of new users given by so many."""


def divide(catalogue, liked=LIKED):
  """Returns the Split of a Catalogue; users without anything to find are left out.

  Raises DataError where nobody liked anything in the training part.
  """
  train, rated, validation, test = {}, set(), [], []
  new = {count: [] for count in NEW_COUNTS}
  for user, ratings in catalogue.by_user.items():
    if is_new(user):
      for count in NEW_COUNTS:
        new[count] += _new_case(user, ratings, count, liked)
      continue
    early, middle, late = _parts(ratings)
    if history := _liked(early, liked):
      train[user] = history
    rated |= {(user, one.row) for one in early}
    validation += _case(user, early, middle, liked)
    test += _case(user, early + middle, late, liked)
  if not train:
    raise DataError(
      f'{catalogue.folder}/ratings.csv: no rating of {liked:g} or more in the training'
      ' part, so that nothing counts as liked; expected stars from 0.5 to 5.'
    )
  cases = {count: tuple(found) for count, found in new.items()}
  return Split(train, frozenset(rated), tuple(validation), tuple(test), cases)


def is_new(user):
  """Returns whether a user belongs to those without a rating in the training."""
  digest = hashlib.sha256(f'new user {user}'.encode()).digest()
  return int.from_bytes(digest[:8]) < NEW_USERS * 2**64


def _parts(ratings):
  times = [one.time for one in ratings]
  ends = [times[min(round(bound * len(times)), len(times) - 1)] for bound in BOUNDS]
  return (
    [one for one in ratings if one.time < ends[0]],
    [one for one in ratings if ends[0] <= one.time < ends[1]],
    [one for one in ratings if one.time >= ends[1]],
  )


def _liked(ratings, liked):
  return tuple(one.row for one in ratings if one.stars >= liked)


def _case(user, before, after, liked):
  history, relevant = _liked(before, liked), frozenset(_liked(after, liked))
  seen = frozenset(one.row for one in before)
  if not history or not relevant - seen:
    return []
  return [Case(user, history, seen, relevant - seen)]


def _new_case(user, ratings, count, liked):
  chosen = [one for one in ratings if one.stars >= liked][:count]
  if len(chosen) < count:
    return []
  # Ratings of one second are no order: what came with the last of them is not asked.
  seen = frozenset(one.row for one in ratings if one.time <= chosen[-1].time)
  later = [one for one in ratings if one.time > chosen[-1].time]
  relevant = frozenset(_liked(later, liked)) - seen
  if not relevant:
    return []
  return [Case(user, tuple(one.row for one in chosen), seen, relevant)]
