"""The store of keys: `KeyStore` creates, revokes, authenticates, admits and charges."""

import contextlib
import datetime
import time

from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.keys import key as keys
from gpt_jax.keys import limits, location, statements
from gpt_jax.keys.key import Key

BUSY_SECONDS = 10
"""How long a statement waits for other processes that write to the SQLite file."""
NO_DIGEST = bytes(32)
NO_LIMIT = -limits.UNLIMITED // 2  # a request without tokens passes an empty bucket


class KeyStore:
  """Keys in a database that processes and machines may share; safe between threads.

  It has no state of its own. A context manager, or `close()` it. Args:
    url: a file (SQLite) or a URL of SQLAlchemy.
    create: make what is missing; else StorageError says how.
    clock: returns seconds since 1970. Machines that share a store need clocks that
      agree within a second or so: limits of a minute are counted by them.
  """

  def __init__(self, url, *, create=False, clock=time.time):
    self._sa = location.load_sqlalchemy()
    self._url, path = location.url_of(url)
    self._clock = clock
    self.shown = location.shown(self._url)
    if path is not None:
      if create:
        location.make_file(path)
      location.require_private(path)
    self._statements = statements.build()
    with self._explaining_errors():
      self._engine = self._make_engine(path is not None)
    try:
      self._open(create)
    except BaseException:
      self.close()
      raise

  def create(
    self, name, scopes=keys.DEFAULT_SCOPES, expires=None, requests_per_minute=None,
    tokens_per_minute=None, tokens_per_day=None, models=(),
  ):  # fmt: skip
    """Returns (Key, secret) of a new key; the secret itself is stored nowhere.

    Raises ConfigError for values that no key can have. Args:
      expires: an aware datetime; None for never.
      models: names of models that it may use; empty for all.
    """
    bounds = dict(
      requests_per_minute=requests_per_minute,
      tokens_per_minute=tokens_per_minute,
      tokens_per_day=tokens_per_day,
    )
    scopes, models = keys.checked(name, scopes, models, bounds)
    identity, secret = keys.make_secret()
    row = dict(
      id=identity,
      name=name,
      digest=keys.digest(secret.encode()),
      scopes=list(scopes),
      models=list(models),
      created_at=self._now(),
      expires_at=None
      if expires is None
      else round(expires.timestamp()) * limits.SECOND,
      **bounds,
    )
    self._run(self._statements.table.insert(), row)
    key = self.find(identity)
    assert key is not None
    return key, secret

  def find(self, identity):
    """Returns the Key of that id, None if there is none."""
    row = self._run(self._statements.read, dict(key_id=identity), fetch=True)
    return _key(row[0]) if row else None

  def list(self):
    """Returns all Keys, the oldest first, also those that no longer hold."""
    table = self._statements.table
    query = self._sa.select(table).order_by(table.c.created_at, table.c.id)
    return [_key(row) for row in self._run(query, fetch=True)]

  def revoke(self, identity):
    """Returns the Key of that id, from now on without effect; else ConfigError."""
    table = self._statements.table
    change = table.update().where(table.c.id == identity, table.c.revoked_at.is_(None))
    self._run(change.values(revoked_at=self._now()))
    key = self.find(identity)
    if key is None:
      raise ConfigError(
        f'{identity}: {self.shown} has no key of this id; see: gpt-jax keys list'
      )
    return key

  def has_keys(self):
    """Returns whether there is a key, of any state.

    A server whose last key was revoked or has expired is closed, not open to all.
    """
    return bool(
      self._run(self._sa.select(self._statements.table.c.id).limit(1), fetch=True)
    )

  def authenticate(self, secret):
    """Returns the Key of the bytes `secret`, None unless it is one that holds now."""
    identity = keys.id_of(secret)
    if identity is None:
      return None
    rows = self._run(self._statements.read, dict(key_id=identity), fetch=True)
    stored = bytes(rows[0].digest) if rows else NO_DIGEST
    # Compared also without a row: an unknown id takes as long as a wrong secret.
    if not keys.is_digest_of(stored, secret) or not rows:
      return None
    key = _key(rows[0])
    return key if key.state(self.now()) == 'active' else None

  def admit(self, key, tokens=0):
    """Counts a request of `key`; returns the Admission for `charge`.

    Raises LimitError where a limit is reached, and then counts nothing. Args:
      tokens: how many it may take at most, prompt and answer. They are reserved, so
        that requests under way at once cannot pass a budget together. With 0 a token
        must be left, and the last answers may pass it. None: the request takes none.
    """
    now, needed, reserved = (
      self._now(),
      max(tokens or 0, tokens is not None),
      tokens or 0,
    )
    today = now // limits.DAY
    budget = limits.UNLIMITED if key.tokens_per_day is None else key.tokens_per_day
    per_minute = key.tokens_per_minute
    values = dict(
      key_id=key.id, now=now, today=today, needed=needed, reserved=reserved,
      request_cost=limits.cost(1, key.requests_per_minute),
      needed_cost=limits.reserved_cost(needed, per_minute) if needed else NO_LIMIT,
      token_cost=limits.reserved_cost(reserved, per_minute),
      budget=budget if needed else limits.UNLIMITED,
    )  # fmt: skip
    while not self._run(self._statements.admit, values):
      rows = self._run(self._statements.read, dict(key_id=key.id), fetch=True)
      if not rows:
        raise ConfigError(f'{key.id}: {self.shown} has no key of this id any more.')
      if refused := limits.refusal(key, rows[0], needed, now):
        raise refused
      # Another process has given tokens back between the two statements: once more.
    return limits.Admission(today, reserved)

  def charge(self, key, tokens, admission=None):
    """Counts the `tokens` that a request took, in place of those reserved."""
    now = self._now()
    admission = admission or limits.Admission(now // limits.DAY, 0)
    per_minute = key.tokens_per_minute
    cost = limits.cost(tokens, per_minute)
    cost -= limits.reserved_cost(admission.tokens, per_minute)
    values = dict(
      key_id=key.id, of_day=admission.day, used=tokens, delta=tokens - admission.tokens,
      cost=cost, floor=now if cost > 0 else 0,
    )  # fmt: skip
    self._run(self._statements.charge, values)

  def budget_shares(self):
    """Returns `{id: tokens of today / tokens_per_day}` of keys that have a budget."""
    c, today = self._statements.table.c, self._now() // limits.DAY
    query = self._sa.select(c.id, c.day, c.day_tokens, c.tokens_per_day)
    query = query.where(c.tokens_per_day.is_not(None), c.revoked_at.is_(None))
    return {
      row.id: row.day_tokens / row.tokens_per_day if row.day == today else 0.0
      for row in self._run(query, fetch=True)
    }

  def now(self):
    """Returns the time of the store's clock, a UTC datetime."""
    return _moment(self._now())

  def close(self):
    self._engine.dispose()

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()

  def _now(self):
    return round(self._clock() * limits.SECOND)

  def _run(self, statement, values=None, fetch=False):
    """Returns the rows of a statement, or how many it changed; commits it."""
    with self._explaining_errors(), self._engine.connect() as connection:
      result = connection.execute(statement, values or {})
      return result.all() if fetch else result.rowcount

  def _make_engine(self, is_sqlite):
    options: dict = dict(isolation_level='AUTOCOMMIT', hide_parameters=True)
    if not is_sqlite:
      return self._sa.create_engine(self._url, pool_pre_ping=True, **options)
    options['connect_args'] = dict(timeout=BUSY_SECONDS)
    engine = self._sa.create_engine(self._url, **options)

    @self._sa.event.listens_for(engine, 'connect')
    def configure(connection, _):
      # Readers and one writer do not wait for each other. A power cut may lose the last
      # counts, and never damages the file.
      connection.execute('PRAGMA journal_mode=WAL').close()
      connection.execute('PRAGMA synchronous=NORMAL').close()

    return engine

  def _open(self, create):
    """Makes the table if it may; StorageError where there is none, or another one."""
    table = self._statements.table
    with self._explaining_errors():
      if create:
        try:
          table.metadata.create_all(self._engine)
        except self._sa.exc.DBAPIError:  # another process has just made it
          if not self._sa.inspect(self._engine).has_table(table.name):
            raise
      elif not self._sa.inspect(self._engine).has_table(table.name):
        raise StorageError(
          f'keys={self.shown}: holds no keys of gpt-jax. Make the first one with:'
          ' gpt-jax keys create --name=NAME --keys=...'
        )
      self._run(self._sa.select(table).limit(1), fetch=True)

  @contextlib.contextmanager
  def _explaining_errors(self):
    """Turns errors of a database and its driver into a StorageError without secrets."""
    try:
      yield
    except (self._sa.exc.SQLAlchemyError, ImportError, OSError) as error:
      cause = getattr(error, 'orig', None) or error
      text = next((line for line in str(cause).splitlines() if line.strip()), '')
      text = location.without_password(self._url, text.strip().rstrip('.'))
      raise StorageError(
        f'keys={self.shown}: cannot be used ({type(cause).__name__}: {text}). Expected'
        ' the file of a key store, or a URL of SQLAlchemy with its driver installed and'
        ' its server running.'
      ) from None  # the driver's own error may show the password


def _key(row):
  """Returns the Key of a row."""
  return Key(
    id=row.id,
    name=row.name,
    scopes=tuple(row.scopes),
    models=tuple(row.models),
    created=_moment(row.created_at),
    expires=row.expires_at and _moment(row.expires_at),
    revoked=row.revoked_at and _moment(row.revoked_at),
    last_used=row.last_used_at and _moment(row.last_used_at),
    requests_per_minute=row.requests_per_minute,
    tokens_per_minute=row.tokens_per_minute,
    tokens_per_day=row.tokens_per_day,
    requests=row.requests,
    tokens=row.tokens,
  )


def _moment(microseconds):
  return datetime.datetime.fromtimestamp(microseconds / limits.SECOND, datetime.UTC)
