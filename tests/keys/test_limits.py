"""Costs in a bucket, and which limit is named with how long a wait."""

import types

import pytest

from gpt_jax.keys import limits

NOW = 40 * limits.DAY + 100 * limits.SECOND


def _key(**values):
  names = ('requests_per_minute', 'tokens_per_minute', 'tokens_per_day')
  return types.SimpleNamespace(**dict.fromkeys(names) | values)


def _row(**values):
  return types.SimpleNamespace(
    **dict(requests_at=0, tokens_at=0, day=0, day_tokens=0) | values
  )


@pytest.mark.parametrize('limit', [1, 3, 7, 59, 60, 61, 999_983, 10**12])
def test_a_full_bucket_holds_exactly_the_limit(limit):
  few = min(limit, 10_000)
  assert few * limits.cost(1, limit) <= limits.MINUTE * few / limit
  assert limits.cost(limit, limit) == limits.MINUTE
  assert limits.cost(limit + 1, limit) > limits.MINUTE or limit > limits.MINUTE
  assert limits.reserved_cost(10 * limit, limit) == limits.MINUTE
  assert limits.cost(5, None) == limits.reserved_cost(5, None) == 0


def test_without_limits_nothing_is_refused():
  assert limits.refusal(_key(), _row(day=40, day_tokens=10**9), 10**9, NOW) is None


def test_the_wait_is_until_the_bucket_has_what_is_needed():
  full_in_a_minute = NOW + limits.MINUTE
  key = _key(requests_per_minute=6)
  refused = limits.refusal(key, _row(requests_at=full_in_a_minute), 0, NOW)
  assert (refused.what, refused.limit) == ('requests_per_minute', 6)
  assert refused.retry_after == 10
  key = _key(tokens_per_minute=600)
  refused = limits.refusal(key, _row(tokens_at=full_in_a_minute), 25, NOW)
  assert (refused.what, refused.retry_after) == ('tokens_per_minute', 3)  # 2.5 s


def test_a_budget_comes_back_at_midnight_utc():
  key, row = _key(tokens_per_day=50), _row(day=40, day_tokens=45)
  assert limits.refusal(key, row, 5, NOW) is None
  refused = limits.refusal(key, row, 6, NOW)
  assert refused.what == 'tokens_per_day'
  assert refused.retry_after == 86_400 - 100
  assert '5 are left, and this request may take 6' in str(refused)
  assert limits.refusal(key, row, 6, NOW + limits.DAY) is None


def test_of_several_limits_the_longest_wait_is_named():
  key = _key(requests_per_minute=6, tokens_per_day=50)
  row = _row(requests_at=NOW + limits.MINUTE, day=40, day_tokens=50)
  assert limits.refusal(key, row, 1, NOW).what == 'tokens_per_day'
