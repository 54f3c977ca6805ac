"""Makes, lists and revokes the keys of the clients of gpt-jax serve.

create   prints a new key. Its secret is shown this once: only a hash of it is stored
list     each key: what it may do, its limits, when it was last used, and its state
revoke   the keys with these ids hold no longer, from the next request on
A store is a file (SQLite, mode 600) or the URL of a database that replicas share; by
default GPT_JAX_KEYS, else ~/.config/gpt_jax/keys.sqlite. Limits are counted in it.

examples:
  gpt-jax keys create --name=alice --expires=30d
  gpt-jax keys create --name=site --scopes=chat,models --requests_per_minute=60 --quiet
  gpt-jax keys list
  gpt-jax keys revoke 0123456789ab
"""

import json

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError

LIMITS = ('requests_per_minute', 'tokens_per_minute', 'tokens_per_day')


def add_arguments(parser):
  parser.add_argument('action', choices=('create', 'list', 'revoke'), help='see above')
  parser.add_argument('id', nargs='*', help='revoke: the ids, as list shows them')
  parser.add_argument(
    '--keys', metavar='FILE|URL', help='the store; with a password use GPT_JAX_KEYS'
  )
  group = parser.add_argument_group('create')
  group.add_argument('--name', metavar='NAME', help='who gets the key')
  group.add_argument(
    '--scopes',
    type=_names,
    metavar='S,S',
    help='of completions, chat, embeddings, classify, models, metrics, admin; default:'
    ' the first five',
  )
  group.add_argument(
    '--models',
    type=_names,
    default=(),
    metavar='M,M',
    help='models and adapters that it may use; default: all',
  )
  group.add_argument(
    '--expires', metavar='WHEN', help='30d, 12h, 2030-01-31 (UTC) or never, the default'
  )
  for limit in LIMITS:
    group.add_argument(f'--{limit}', type=int, metavar='N', help='default: no limit')
  parser.add_argument(
    '--quiet', action='store_true', help='create: print the secret and nothing else'
  )
  flags.add_json(parser)


def _names(text):
  return tuple(name.strip() for name in text.split(',') if name.strip())


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.keys import location
  from gpt_jax.keys.store import KeyStore

  if args.id and args.action != 'revoke':
    raise ConfigError(f'keys {args.action}: {args.id[0]!r} stands without a flag.')
  if args.action == 'create' and not args.name:
    raise ConfigError('keys create: give --name=NAME, who gets the key.')
  if args.action == 'revoke' and not args.id:
    raise ConfigError('keys revoke: give the ids of keys; gpt-jax keys list has them.')
  where = args.keys or location.default()
  with KeyStore(where, create=args.action == 'create') as store:
    dict(create=_create, list=_list, revoke=_revoke)[args.action](store, args)


def _create(store, args):
  from gpt_jax.keys import expiry
  from gpt_jax.keys.key import DEFAULT_SCOPES

  key, secret = store.create(
    args.name,
    args.scopes if args.scopes is not None else DEFAULT_SCOPES,
    expiry.parse(args.expires, store.now()),
    models=args.models,
    **{limit: getattr(args, limit) for limit in LIMITS},
  )
  if args.quiet:
    print(secret)
    return
  print(f'{secret}\n')
  print(f'The key of {key.name}, which is shown this once. Send it as the header')
  print('  Authorization: Bearer <key>')
  print(
    f'It may use: {", ".join(key.scopes)}; models: {", ".join(key.models) or "all"}'
  )
  print(f'Expires: {_date(key.expires) or "never"}. Limits: {_limits(key) or "none"}.')
  print(f'Stored, hashed, in {store.shown}; gpt-jax keys revoke {key.id} ends it.')
  if args.json:
    print(json.dumps({'secret': secret, **_record(key, store.now())}))


def _list(store, args):
  from gpt_jax.tracking import console

  found, now = store.list(), store.now()
  columns = (
    'id', 'name', 'state', 'scopes', 'models', 'limits', 'expires', 'last used',
    'requests', 'tokens',
  )  # fmt: skip
  rows = [
    (
      key.id, key.name, key.state(now), ' '.join(key.scopes),
      ' '.join(key.models) or 'all', _limits(key) or 'none',
      _date(key.expires) or 'never', _date(key.last_used) or 'never',
      f'{key.requests:,}', f'{key.tokens:,}',
    )
    for key in found
  ]  # fmt: skip
  console.table(f'keys in {store.shown}', columns, rows)
  if args.json:
    print(json.dumps({'keys': [_record(key, now) for key in found]}))


def _revoke(store, args):
  for identity in args.id:
    if store.find(identity) is None:
      store.revoke(identity)  # says that there is no such key, before any is revoked
  revoked = [store.revoke(identity) for identity in args.id]
  for key in revoked:
    print(f'{key.id} ({key.name}): revoked {_date(key.revoked)}')
  if args.json:
    print(json.dumps({'revoked': [_record(key, store.now()) for key in revoked]}))


def _limits(key):
  words = {limit: limit.replace('_per_', '/') for limit in LIMITS}
  return ' '.join(
    f'{getattr(key, limit):,} {word}'
    for limit, word in words.items()
    if getattr(key, limit) is not None
  )


def _date(moment):
  return moment and f'{moment:%Y-%m-%d %H:%M} UTC'


def _record(key, now):
  """Returns a key as JSON values, without its hash."""
  import dataclasses

  values = dataclasses.asdict(key)
  for name in ('created', 'expires', 'revoked', 'last_used'):
    values[name] = values[name] and values[name].isoformat()
  return values | {'state': key.state(now)}
