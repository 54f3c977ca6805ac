"""Hosts, keys, scopes, limits and hooks hold on every route; errors have one form."""

import collections
import dataclasses
import socket
import threading
import types

import pytest

from gpt_jax.serving.hooks import SCOPES, Hooks, LimitError
from tests.serving import served
from tests.serving.test_completions import events


@dataclasses.dataclass
class FakeKey:
  id: str
  scopes: tuple = SCOPES
  models: tuple = ()

  def allows_model(self, name):
    return not self.models or name in self.models


class FakeKeys:
  """A key store in a dict."""

  def __init__(self, **keys):
    self.keys = {name.encode(): key for name, key in keys.items()}
    self.charged, self.admitted, self.limited = [], [], set()

  def authenticate(self, secret):
    return self.keys.get(secret)

  def admit(self, key, tokens=0):
    if key.id in self.limited:
      raise LimitError('no more today', retry_after=7, what='tokens_per_day')
    self.admitted.append((key.id, tokens))
    return f'reserved {tokens}'

  def charge(self, key, tokens, admission=None):
    self.charged.append((key.id, tokens, admission))

  def has_keys(self):
    return True


class FakePolicy:
  """Refuses prompts with "bad"; shows no x; stops answers at a q."""

  def check_prompt(self, text):
    if 'bad' in text:
      return types.SimpleNamespace(rule='bad_words', text='I will not.')
    return None

  def redact_prompt(self, text):
    return text.replace('4111', '****'), collections.Counter(card=text.count('4111'))

  def output_filter(self):
    return FakeFilter()


class FakeFilter:
  def __init__(self):
    self.refusal, self.redactions = None, collections.Counter()

  def feed(self, piece):
    before, q, _ = piece.partition('q')
    if q:
      self.refusal = types.SimpleNamespace(rule='no_q', text='Stopped.')
    self.redactions['x'] += before.count('x')
    return before.replace('x', '_')

  def finish(self):
    return ''


class Recorder:
  """Any hook that is told of requests that have ended."""

  def __init__(self):
    self.records, self.entries, self.texts, self.written_tokens = [], [], [], 0

  def started(self, *args):
    pass

  def written(self, model, count):
    self.written_tokens += count

  def finished(self, record):
    self.records.append(record)

  def record(self, entry):
    self.entries.append(entry)

  def write(self, record, prompt=None, answer=None):
    self.texts.append((prompt, answer))

  def reloaded(self, model, outcome='ok'):
    pass

  def drains(self):
    pass

  def render(self):
    return b'a 1\n'


KEYS = FakeKeys(
  all=FakeKey('k1'),
  chat=FakeKey('k2', ('chat',)),
  other=FakeKey('k3', models=('other',)),
  second=FakeKey('k4'),
)
RECORDER = Recorder()


@pytest.fixture(scope='module')
def guarded():
  hooks = Hooks(keys=KEYS, metrics=RECORDER, audit=RECORDER, request_log=RECORDER)
  with served.serve(hooks=hooks, request_seconds=30) as server:
    yield server


@pytest.fixture(scope='module')
def filtered():
  with served.serve(hooks=Hooks(policy=FakePolicy(), metrics=Recorder())) as server:
    yield server


def ask(server, path, key=None, method='GET', **options):
  headers = {'authorization': f'Bearer {key}'} if key else {}
  return served.http.request(method, server.url + path, headers=headers, **options)


def record_of(recorder, response):
  """Returns the RequestRecord of a response, which is out before the hooks are told."""
  name = response.headers['x-request-id']
  served.wait_until(lambda: any(one.id == name for one in recorder.records))
  return next(one for one in recorder.records if one.id == name)


def error_of(response):
  found = response.json()['error']
  assert set(found) == {'message', 'type', 'param', 'code'} and found['message']
  return found


def test_no_route_answers_without_a_key(guarded):
  routes = guarded.server.shared.routes()
  assert len(routes) >= 10
  closed = [route for route in routes if not route.is_open]
  assert {r.path for r in routes} - {r.path for r in closed} == {'/healthz', '/readyz'}
  for path in [*(route.path for route in closed), '/nowhere', '/v1/', '//healthz']:
    for method in ('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'):
      response = ask(guarded, path, method=method)
      assert response.status_code == 401, (method, path)
      assert error_of(response)['code'] == 'invalid_api_key'
      assert response.headers['www-authenticate'] == 'Bearer'
  assert ask(guarded, '/healthz').json() == {'status': 'ok'}


@pytest.mark.parametrize(
  'value', ['Bearer wrong', 'Bearer', 'Basic all', 'all', 'Bearer allx', 'Bearer é']
)
def test_wrong_keys_are_refused(guarded, value):
  headers = {'authorization': value.encode('latin-1')}
  assert served.http.get(guarded.url + '/v1/models', headers=headers).status_code == 401


def test_two_keys_are_none(guarded):
  headers = [('authorization', 'Bearer all'), ('authorization', 'Bearer all')]
  assert served.http.get(guarded.url + '/v1/models', headers=headers).status_code == 401


def test_scopes_and_models_of_a_key_hold(guarded):
  assert ask(guarded, '/v1/models', 'all').json()['data'][0]['id'] == served.NAME
  assert ask(guarded, '/v1/models', 'chat').status_code == 403
  assert ask(guarded, '/metrics', 'chat').status_code == 403
  assert ask(guarded, '/metrics', 'all').text == 'a 1\n'
  assert ask(guarded, '/v1/models', 'other').json()['data'] == []
  body = {'model': served.NAME, 'prompt': 'a', 'max_tokens': 1}
  found = ask(guarded, '/v1/completions', 'other', 'POST', json=body)
  assert found.status_code == 403 and error_of(found)['param'] == 'model'


def test_tokens_are_reserved_and_then_charged(guarded):
  KEYS.charged.clear()
  body = {'model': served.NAME, 'prompt': 'abc', 'max_tokens': 4, 'n': 2}
  found = ask(guarded, '/v1/completions', 'all', 'POST', json=body).json()
  assert KEYS.admitted[-1] == ('k1', 3 + 2 * 4)
  served.wait_until(lambda: KEYS.charged)
  assert KEYS.charged == [('k1', found['usage']['total_tokens'], 'reserved 11')]


def test_keys_share_no_prefixes(guarded):
  body = {'model': served.NAME, 'prompt': 'a secret of one key, of two chunks and more'}
  cached = []
  for key in ('all', 'all', 'second', 'second'):
    found = ask(guarded, '/v1/completions', key, 'POST', json=body | {'max_tokens': 1})
    cached.append(found.json()['usage']['prompt_tokens_details']['cached_tokens'])
  assert cached == [0, 32, 0, 32]


def test_a_limit_is_a_429_with_a_time_to_wait(guarded):
  KEYS.limited.add('k1')
  try:
    body = {'model': served.NAME, 'prompt': 'abc'}
    found = ask(guarded, '/v1/completions', 'all', 'POST', json=body)
  finally:
    KEYS.limited.clear()
  assert found.status_code == 429 and found.headers['retry-after'] == '7'
  assert error_of(found)['code'] == 'rate_limit_exceeded'
  assert record_of(RECORDER, found).limit == 'tokens_per_day'


def test_hooks_are_told_of_the_end(guarded):
  RECORDER.written_tokens = 0
  body = {'model': served.NAME, 'prompt': 'hello', 'max_tokens': 5, 'temperature': 0}
  found = ask(guarded, '/v1/completions', 'all', 'POST', json=body)
  record = record_of(RECORDER, found)
  assert (record.route, record.model, record.key_id) == (
    '/v1/completions', served.NAME, 'k1',
  )  # fmt: skip
  assert (record.status, record.outcome, record.prompt_tokens) == (200, 'ok', 5)
  assert record.started <= record.admitted <= record.first_token <= record.ended
  assert RECORDER.written_tokens == record.new_tokens
  served.wait_until(lambda: RECORDER.entries[-1]['id'] == record.id)
  served.wait_until(lambda: RECORDER.texts[-1][0] == 'hello')
  assert RECORDER.texts[-1][1] == found.json()['choices'][0]['text']


def test_an_unknown_path_has_no_label_of_its_own(guarded):
  found = ask(guarded, '/x' * 50, 'all')
  assert found.status_code == 404
  assert record_of(RECORDER, found).route == 'unknown'


def test_a_refused_prompt_is_answered_by_the_policy(filtered):
  found = filtered.complete('a bad one')['choices'][0]
  assert (found['text'], found['finish_reason']) == ('I will not.', 'content_filter')
  body = dict(messages=[{'role': 'user', 'content': 'bad'}])
  found = filtered.post('/v1/chat/completions', **body).json()['choices'][0]
  assert found['message']['refusal'] == 'I will not.'
  streamed = events(filtered, '/v1/chat/completions', **body)
  assert streamed[-1]['choices'][0]['finish_reason'] == 'content_filter'


def test_answers_pass_the_filter_whole_and_streamed(filtered):
  asked = dict(prompt='ab', max_tokens=8, logit_bias={'120': 100})
  assert filtered.complete(**asked)['choices'][0]['text'] == '________'
  found = events(filtered, '/v1/completions', **asked)
  text = ''.join(c['text'] for event in found for c in event['choices'])
  assert text == '________'
  asked['logit_bias'] = {'113': 100}  # q
  found = events(filtered, '/v1/completions', **asked)
  assert found[-1]['choices'][0]['finish_reason'] == 'content_filter'
  assert ''.join(c['text'] for event in found for c in event['choices']) == ''
  records = filtered.server.shared.hooks.metrics.records
  served.wait_until(lambda: records[-1].filter_hits == {('answer', 'no_q'): 1})


def test_prompts_are_redacted_and_probabilities_kept_back(filtered):
  found = filtered.complete('4111', echo=True, max_tokens=1)['choices'][0]
  assert found['text'].startswith('****')
  records = filtered.server.shared.hooks.metrics.records
  served.wait_until(lambda: records[-1].redactions['card'] == 1)
  assert filtered.post('/v1/completions', prompt='a', logprobs=1).status_code == 400


@pytest.mark.parametrize(
  'host, status',
  [
    ('localhost', 200), ('127.0.0.1:{port}', 200), ('[::1]:1', 200), ('LOCALHOST', 200),
    ('example.com', 400), ('localhost.example.com', 400), ('', 400),
    ('127.0.0.1@evil.com', 400),
  ],
)  # fmt: skip
def test_hosts_of_others_are_refused(server, host, status):
  headers = {'host': host.format(port=server.port)}
  assert (
    served.http.get(server.url + '/v1/models', headers=headers).status_code == status
  )


def test_no_page_of_another_origin_is_let_in(server):
  headers = {'origin': 'http://evil.com', 'access-control-request-method': 'POST'}
  found = served.http.options(server.url + '/v1/completions', headers=headers)
  assert found.status_code == 405
  assert not [h for h in found.headers if h.startswith('access-control')]


@pytest.mark.parametrize('field, value', [
  ('suffix', 'x'), ('max_tokens', 65), ('max_tokens', 2**63), ('n', 0), ('n', 2**63),
  ('top_k', -1), ('temperature', -0.1), ('logprobs', 21), ('best_of', 65),
  ('logit_bias', {'999999': 1}), ('logit_bias', {'x': 1}), ('stop', ''), ('prompt', []),
  ('prompt', [-1]), ('prompt', [2**31]), ('prompt', [100_000]), ('seed', 2**63),
  ('stream_options', {'include_usage': True}), ('model', '../etc/passwd'),
  ('prompt', 'x' * 100_000), ('regex', '('),
])  # fmt: skip
def test_wrong_fields_are_refused_by_name(server, field, value):
  body = {'prompt': 'ab', 'max_tokens': 2} | {field: value}
  found = server.post('/v1/completions', **body)
  assert found.status_code in (400, 404), found.text
  error = error_of(found)
  assert error['param'] or field in error['message'] or 'text 0' in error['message']


def test_ignored_fields_are_taken(server):
  server.complete('ab', max_tokens=1, user='me', metadata={'a': 'b'}, store=True)


@pytest.mark.parametrize('new, status', [(61, 200), (62, 200), (63, 400), (0, 200)])
def test_the_context_is_the_limit_of_prompt_and_text(server, new, status):
  found = server.post('/v1/completions', prompt='ab', max_tokens=new, temperature=0)
  assert found.status_code == status, found.text
  if status == 400:
    error = error_of(found)
    assert error['code'] == 'context_length_exceeded'
    assert '65' in error['message'] and str(served.CONTEXT) in error['message']


def test_a_stalled_reader_does_not_hold_the_others(server):
  body = b'{"model": "small", "prompt": "ab", "max_tokens": 60, "stream": true}'
  with socket.create_connection((server.host, server.port)) as raw:
    raw.sendall(
      b'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type:'
      b' application/json\r\ncontent-length: %d\r\n\r\n' % len(body) + body
    )
    assert server.complete('ab', max_tokens=2)['choices']


def test_clients_that_go_free_their_slots(server):
  scheduler = server.scheduler()
  for stream in (True, False):
    for _ in range(3):
      body = b'{"model":"small","prompt":"ab","max_tokens":60,"stream":%s}' % (
        b'true' if stream else b'false'
      )
      with socket.create_connection((server.host, server.port)) as raw:
        raw.sendall(
          b'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type:'
          b' application/json\r\ncontent-length: %d\r\n\r\n' % len(body) + body
        )
  served.wait_until(lambda: not scheduler._tasks)
  assert scheduler.num_running == scheduler.num_waiting == 0


@pytest.mark.slow
def test_overload_is_refused_at_once_with_a_time_to_wait():
  small = served.models(load=lambda *args: served.load(*args, run=served.run_of(
    inference__slots=1, inference__queue_limit=2)))  # fmt: skip
  with served.serve(small) as server:
    found = []

    def send():
      found.append(server.post('/v1/completions', prompt='ab', max_tokens=60))

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join(60)
    counts = collections.Counter(response.status_code for response in found)
    assert set(counts) == {200, 503} and sum(counts.values()) == 12
    busy = next(response for response in found if response.status_code == 503)
    assert busy.headers['retry-after'] == '1'
    assert error_of(busy)['code'] == 'overloaded'
    assert server.scheduler().num_waiting == 0


def test_a_request_has_a_deadline():
  with served.serve(request_seconds=0.001) as server:
    found = server.post('/v1/completions', prompt='ab', max_tokens=60)
    assert found.status_code == 503
    assert error_of(found)['code'] == 'deadline_exceeded'
    served.wait_until(lambda: not server.scheduler()._tasks)
