"""Times of a request: known ones, and those that never came."""

from tests.serving.records import record


def test_seconds_between_two_times_of_a_request():
  assert record().seconds('started', 'first_token') == 2.0


def test_a_time_that_never_came_has_no_seconds():
  assert record(first_token=None).seconds('first_token', 'ended') is None


def test_time_per_token_counts_the_steps_between_tokens():
  assert record().seconds_per_token == 0.5  # 4 steps in 2 seconds
  assert record(new_tokens=1).seconds_per_token is None
