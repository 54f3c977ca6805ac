"""Limits of a key: buckets that refill evenly, a budget of a day, and what is refused.

A limit of N a minute is a bucket of N that refills evenly (the generic cell rate
algorithm): N may come at once, then one every 60 / N seconds. The store keeps of it one
number, the moment at which the bucket will be full again. Times are whole microseconds,
so that N requests never add up to more than a minute by rounding.
"""

import dataclasses
import math

from gpt_jax.core.errors import UserError

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
UNLIMITED = 2**62


class LimitError(UserError):
  """A request beyond a limit of its key.

  Attributes:
    what: the field of the Key that was reached, such as 'requests_per_minute'.
    limit: its value.
    retry_after: whole seconds, at least 1, after which the same request may pass.
  """

  def __init__(self, what, limit, retry_after, detail=''):
    self.what, self.limit, self.retry_after = what, limit, retry_after
    words = what.replace('_', ' ')
    super().__init__(
      f'The key has reached its limit of {limit:,} {words}{detail}; try again in'
      f' {retry_after:,} seconds.'
    )


@dataclasses.dataclass(frozen=True)
class Admission:
  """What `admit` has reserved, for `charge` to settle: tokens, and of which day."""

  day: int
  tokens: int


def cost(amount, per_minute):
  """Returns the microseconds in which a bucket refills `amount`; 0 without a limit."""
  return 0 if per_minute is None else amount * MINUTE // per_minute


def reserved_cost(tokens, per_minute):
  """Returns the `cost` of a reservation: a request may be larger than the bucket.

  It waits for a full one, and `charge` then takes what it really was.
  """
  return cost(tokens if per_minute is None else min(tokens, per_minute), per_minute)


def refusal(key, row, needed, now):
  """Returns the LimitError that stops a request, of several the one that lasts longest.

  None if it would pass by now. Args:
    row: the counters `requests_at`, `tokens_at`, `day`, `day_tokens` of the key.
    needed: tokens that it reserves.
    now: microseconds.
  """
  waits = []

  def add(what, full_at, needs):
    waits.append((max(full_at, now) + needs - MINUTE - now, what, ''))

  add('requests_per_minute', row.requests_at, cost(1, key.requests_per_minute))
  if needed:
    per_minute = key.tokens_per_minute
    add('tokens_per_minute', row.tokens_at, reserved_cost(needed, per_minute))
  if needed and key.tokens_per_day is not None:
    left = max(0, key.tokens_per_day - (row.day_tokens if row.day == now // DAY else 0))
    if needed > left:
      detail = f' ({left:,} are left, and this request may take {needed:,})'
      waits.append((DAY - now % DAY, 'tokens_per_day', detail))
  wait, what, detail = max(waits)
  if wait <= 0:
    return None
  return LimitError(what, getattr(key, what), math.ceil(wait / SECOND), detail)
