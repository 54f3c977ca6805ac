"""The table of keys, and the statements that read and count in it.

Limits are counted by single UPDATE statements, which any database makes one after the
other for one row: replicas and threads that share a store cannot pass a limit together.
"""

import functools
from typing import Any, NamedTuple

from gpt_jax.keys import limits, location


class Statements(NamedTuple):
  """The table and the statements of every request; `bindparam` names their values."""

  table: Any
  read: Any
  admit: Any
  charge: Any


@functools.cache
def build():
  """Returns the Statements, made once a process."""
  sa = location.load_sqlalchemy()
  table = make_table(sa)
  return Statements(
    table,
    sa.select(table).where(table.c.id == sa.bindparam('key_id')),
    _admit(sa, table),
    _charge(sa, table),
  )


def make_table(sa):
  """Returns the Table of keys. Times are microseconds since 1970, days are UTC."""

  def number(name, **options):
    return sa.Column(name, sa.BigInteger, **options)

  def counter(name):
    return number(name, nullable=False, default=0)

  return sa.Table(
    'gpt_jax_keys',
    sa.MetaData(),
    sa.Column('id', sa.String(16), primary_key=True),
    sa.Column('name', sa.String(200), nullable=False),
    sa.Column('digest', sa.LargeBinary(32), nullable=False),
    sa.Column('scopes', sa.JSON, nullable=False),
    sa.Column('models', sa.JSON, nullable=False),
    number('created_at', nullable=False),
    number('expires_at'),
    number('revoked_at'),
    number('last_used_at'),
    number('requests_per_minute'),
    number('tokens_per_minute'),
    number('tokens_per_day'),
    counter('requests_at'),  # when the bucket of requests is full again
    counter('tokens_at'),
    counter('day'),
    counter('day_tokens'),  # of that day
    counter('requests'),
    counter('tokens'),
  )


def _admit(sa, table):
  """Returns the UPDATE that changes one row if all limits allow it, else none."""
  c, p = table.c, sa.bindparam
  now, today = p('now'), p('today')
  requests_at = _larger(sa, c.requests_at, now) + p('request_cost')
  tokens_at = _larger(sa, c.tokens_at, now)
  day_tokens = sa.case((c.day == today, c.day_tokens), else_=0)
  return (
    sa.update(table)
    .where(
      c.id == p('key_id'),
      requests_at <= now + limits.MINUTE,
      tokens_at + p('needed_cost') <= now + limits.MINUTE,
      day_tokens + p('needed') <= p('budget'),
    )
    .values(
      requests_at=requests_at,
      tokens_at=tokens_at + p('token_cost'),
      day=today,
      day_tokens=day_tokens + p('reserved'),
      requests=c.requests + 1,
      last_used_at=now,
    )
  )


def _charge(sa, table):
  """Returns the UPDATE that settles a reservation.

  Tokens belong to the day on which their request was admitted: those of an answer that
  ends after midnight are not counted on the new day.
  """
  c, p = table.c, sa.bindparam
  on_its_day = sa.case(
    (c.day == p('of_day'), c.day_tokens + p('delta')),
    (c.day < p('of_day'), p('delta')),
    else_=c.day_tokens,
  )
  return (
    sa.update(table)
    .where(c.id == p('key_id'))
    .values(
      tokens_at=_larger(sa, c.tokens_at, p('floor')) + p('cost'),
      day=_larger(sa, c.day, p('of_day')),
      day_tokens=on_its_day,
      tokens=c.tokens + p('used'),
    )
  )


def _larger(sa, one, other):
  return sa.case((one > other, one), else_=other)  # MAX and GREATEST differ by database
