"""A key: its fields, what it may do, and the form of its secret."""

import dataclasses
import datetime
import hashlib
import hmac
import re
import secrets

from gpt_jax.core.errors import ConfigError

SCOPES = {
  'completions': 'complete a prompt',
  'chat': 'answer a conversation',
  'embeddings': 'embed texts',
  'classify': 'predict with a task head',
  'models': 'list the models',
  'metrics': 'read the counters of the server',
  'admin': 'reload models',
}
"""What a key may be allowed to do, with an explanation."""

DEFAULT_SCOPES = ('completions', 'chat', 'embeddings', 'classify', 'models')
MAX_NAME = 100  # characters
ID_BYTES, SECRET_BYTES = 6, 32
SECRET_FORM = re.compile(rb'gj-([0-9a-f]{12})-[A-Za-z0-9_-]{43}')


@dataclasses.dataclass(frozen=True)
class Key:
  """What the store knows of a key; times are UTC, a limit of None is none.

  `models`: the names that it may ask for; empty for all. `requests` and `tokens` count
  from its creation.
  """

  id: str
  name: str
  scopes: tuple[str, ...]
  models: tuple[str, ...]
  created: datetime.datetime
  expires: datetime.datetime | None
  revoked: datetime.datetime | None
  last_used: datetime.datetime | None
  requests_per_minute: int | None
  tokens_per_minute: int | None
  tokens_per_day: int | None
  requests: int
  tokens: int

  def allows(self, scope):
    """Returns whether the key may use `scope`, one of `SCOPES`."""
    return scope in self.scopes

  def allows_model(self, name):
    """Returns whether the key may use the model or adapter of that name."""
    return not self.models or name in self.models

  def state(self, now):
    """Returns 'active', 'expired' or 'revoked' at `now`, a datetime."""
    if self.revoked:
      return 'revoked'
    return 'expired' if self.expires and self.expires <= now else 'active'


def make_secret():
  """Returns (id, secret) of a new key: `gj-<id>-<43 characters of 256 random bits>`."""
  name = secrets.token_hex(ID_BYTES)
  return name, f'gj-{name}-{secrets.token_urlsafe(SECRET_BYTES)}'


def id_of(secret):
  """Returns the id in the bytes of a secret, None where they have no such form."""
  found = SECRET_FORM.fullmatch(secret)
  return found and found[1].decode()


def digest(secret):
  """Returns what is stored of a secret: the 32 bytes of its SHA-256."""
  # A slow hash (bcrypt, scrypt) protects passwords, which can be guessed. A secret here
  # is 256 random bits: nobody searches them, at any speed, and a slow hash would let
  # anyone keep the server busy with wrong keys.
  return hashlib.sha256(secret).digest()


def is_digest_of(stored, secret):
  """Returns whether `stored` is the digest of the bytes `secret`, in constant time."""
  return hmac.compare_digest(stored, digest(secret))


def checked(name, scopes, models, limits):
  """Returns (scopes, models) as tuples of what a new key is to have.

  Raises ConfigError for an empty or long name, unknown scopes, and limits below 1.
  """
  if not name or len(name) > MAX_NAME or not name.isprintable():
    raise ConfigError(
      f'name={name!r}: expected 1 to {MAX_NAME} printable characters, such as the'
      ' client or person that gets the key.'
    )
  scopes, models = tuple(dict.fromkeys(scopes)), tuple(dict.fromkeys(models))
  unknown = [scope for scope in scopes if scope not in SCOPES]
  if unknown or not scopes:
    raise ConfigError(
      f'scopes={",".join(unknown)!r}: expected some of {", ".join(SCOPES)}.'
    )
  for field, value in limits.items():
    if value is not None and not 1 <= value < 2**53:
      raise ConfigError(f'{field}={value}: expected a whole number of at least 1.')
  return scopes, models
