"""The split: nothing of later, and nothing of new users, is learned from."""

import dataclasses

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.recommend import split


def time_of(items):
  return {(one.user, one.row): one.time for one in items.ratings}


def test_what_is_asked_comes_after_what_is_known(items, parts):
  times = time_of(items)
  cases = [
    *parts.validation,
    *parts.test,
    *(c for own in parts.new.values() for c in own),
  ]
  assert len(cases) > 60
  for case in cases:
    latest = max(times[case.user, row] for row in case.seen)
    assert latest < min(times[case.user, row] for row in case.relevant)
    assert set(case.history) <= case.seen and not case.seen & case.relevant


def test_new_users_have_no_rating_in_the_training(parts):
  new = {case.user for own in parts.new.values() for case in own}
  assert new and not new & parts.train.keys()
  assert not new & {user for user, _ in parts.rated}
  for count, cases in parts.new.items():
    assert all(len(case.history) == count for case in cases)


def test_the_training_has_only_early_ratings(items, parts):
  times = time_of(items)
  held_out = {case.user: case for case in parts.validation}
  for user, history in parts.train.items():
    if user in held_out:
      first = min(times[user, row] for row in held_out[user].relevant)
      assert all(times[user, row] < first for row in history)


def test_ratings_of_one_second_stay_together(items):
  same = tuple(dataclasses.replace(one, time=5) for one in items.ratings)
  together = dataclasses.replace(items, ratings=same)
  with pytest.raises(DataError, match='nothing counts as liked'):
    split.divide(together)  # all of it is in the last part


def test_stars_that_nobody_gave_are_an_error(items):
  with pytest.raises(DataError, match='no rating of 6 or more'):
    split.divide(items, liked=6.0)
