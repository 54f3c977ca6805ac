"""Who may ask a server what: keys, scopes, models and limits, without a model."""

import asyncio

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.keys.store import KeyStore
from gpt_jax.serving import app, server
from gpt_jax.serving.errors import ApiError
from gpt_jax.serving.hooks import Hooks
from gpt_jax.serving.settings import Settings

httpx = pytest.importorskip('httpx')

WORK = {
  'completions': ('/v1/completions', {'prompt': 'a'}),
  'chat': ('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'a'}]}),
  'embeddings': ('/v1/embeddings', {'input': 'a'}),
  'classify': ('/v1/classify', {'input': 'a'}),
}
REACHED = 418
"""Status of what has passed all checks of keys."""


class Models:
  """Two names and no model."""

  error = None

  def served(self):
    return []

  def get(self, name):
    if name not in ('tiny', 'big'):
      raise ApiError(404, name)
    return Served(name)

  async def reload(self):
    return {}


class Served:
  def __init__(self, name):
    self.name, self.model = name, self

  def require(self, ability):
    raise ApiError(REACHED, ability)


@pytest.fixture
def store(tmp_path):
  with KeyStore(tmp_path / 'keys.sqlite', create=True) as store:
    yield store


@pytest.fixture
def ask(store):
  """Returns a function of a key's secret, a path and a body: the response."""
  answering, _ = app.make_app(Models(), Settings(), Hooks(keys=store))

  async def send(secret, path, body):
    transport = httpx.ASGITransport(answering)
    async with httpx.AsyncClient(transport=transport, base_url='http://localhost') as c:
      headers = {'authorization': f'Bearer {secret}'} if secret else {}
      if body is None:
        return await c.get(path, headers=headers)
      return await c.post(path, json=body, headers=headers)

  return lambda secret, path, body=None: asyncio.run(send(secret, path, body))


def test_every_route_but_liveness_needs_a_key(ask, store):
  store.create('alice')
  _, shared = app.make_app(Models(), Settings(), Hooks(keys=store))
  answers = {
    route.path: ask('gj-wrong', route.path, None if route.method == 'GET' else {})
    for route in shared.routes()
  }
  open_paths = {path for path, found in answers.items() if found.status_code != 401}
  assert open_paths == {'/healthz', '/readyz'}
  found = answers['/v1/models']
  assert found.headers['www-authenticate'] == 'Bearer'
  assert found.json()['error']['code'] == 'invalid_api_key'
  assert ask('gj-wrong', '/no/such/path').status_code == 401


@pytest.mark.parametrize('scope', WORK)
def test_a_scope_opens_its_own_route_alone(ask, store, scope):
  _, secret = store.create('alice', [scope])
  statuses = {
    name: ask(secret, path, {'model': 'tiny', **body}).status_code
    for name, (path, body) in WORK.items()
  }
  assert statuses == {name: REACHED if name == scope else 403 for name in WORK}
  assert ask(secret, '/v1/models').status_code == 403
  assert ask(secret, '/admin/reload', {}).status_code == 403


def test_a_key_may_use_its_models_alone(ask, store):
  _, secret = store.create('alice', models=['tiny'])
  path, body = WORK['completions']
  assert ask(secret, path, {'model': 'tiny', **body}).status_code == REACHED
  assert ask(secret, path, {'model': 'big', **body}).status_code == 403


def test_a_limit_answers_429_with_the_seconds_to_wait(ask, store):
  key, secret = store.create('alice', requests_per_minute=2)
  answers = [ask(secret, '/v1/models') for _ in range(3)]
  assert [one.status_code for one in answers] == [200, 200, 429]
  assert 1 <= int(answers[-1].headers['retry-after']) <= 30
  assert 'limit of 2 requests per minute' in answers[-1].json()['error']['message']
  assert store.find(key.id).requests == 2


def test_a_store_that_breaks_is_503_and_lets_nobody_in(ask, store):
  _, secret = store.create('alice')
  store._run(store._sa.text('DROP TABLE gpt_jax_keys'))
  found = ask(secret, '/v1/models')
  assert found.status_code == 503 and 'no such table' not in found.text


def test_a_revoked_key_is_refused_at_once(ask, store):
  key, secret = store.create('alice')
  assert ask(secret, '/v1/models').status_code == 200
  store.revoke(key.id)
  assert ask(secret, '/v1/models').status_code == 401


def test_others_are_answered_only_where_there_are_keys(store):
  settings = Settings(host='0.0.0.0')
  for hooks in (Hooks(), Hooks(keys=store)):
    with pytest.raises(ConfigError, match='gpt-jax keys create'):
      server.require_keys(settings, hooks)
    server.require_keys(Settings(), hooks)
  store.create('alice')
  server.require_keys(settings, Hooks(keys=store))
