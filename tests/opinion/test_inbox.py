"""POST /events: what is accepted is in the journal, and bad requests change nothing."""

import json
import socket

import httpx
import pytest
from starlette.testclient import TestClient

from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.opinion import inbox
from gpt_jax.opinion.journal import Journal


@pytest.fixture
def journal(tmp_path):
  return Journal(tmp_path)


@pytest.fixture
def client(journal):
  return TestClient(inbox.make_app(journal, lambda: '<p>page'))


def lines(journal):
  return [json.loads(line) for _, line in journal.read(99)]


@pytest.mark.parametrize(
  'body, count',
  [
    (b'{"text": "a"}', 1),
    (b'{"text": "a"}\n{"text": "b", "time": 5}\n', 2),
    (b'[{"text": "a"}, {"text": "b"}]', 2),
  ],
)
def test_an_object_a_list_or_lines_are_accepted(client, journal, body, count):
  answer = client.post('/events', content=body)
  assert (answer.status_code, answer.json()['accepted']) == (200, count)
  found = lines(journal)
  assert len(found) == count
  assert all('arrived' in one or 'time' in one for one in found)


def test_bad_lines_are_named_and_the_others_kept(client, journal):
  body = b'{"text": "a", "time": 5}\nnonsense\n{"text": 3}'
  answer = client.post('/events', content=body).json()
  assert answer['accepted'] == 1
  assert [(one['line'], one['why']) for one in answer['bad']] == [
    (2, 'not JSON'),
    (3, 'no text'),
  ]
  assert lines(journal) == [{'text': 'a', 'time': 5}]


def test_requests_that_cannot_be_taken_say_so(client, journal, monkeypatch):
  assert client.post('/events', content=b'[]').status_code == 400
  assert client.post('/events', content=b'\xff').status_code == 400
  assert client.get('/events').status_code == 405
  monkeypatch.setattr(inbox, 'MAX_BODY', 10)
  assert client.post('/events', content=b'x' * 11).status_code == 413
  monkeypatch.setattr(inbox, 'MAX_BACKLOG', -1)
  answer = client.post('/events', content=b'{}')
  assert (answer.status_code, answer.headers['retry-after']) == (503, '5')
  assert lines(journal) == []


def test_a_full_disk_is_no_acceptance(client, journal, monkeypatch):
  def full(lines):
    raise StorageError('no space left')

  monkeypatch.setattr(journal, 'append', full)
  answer = client.post('/events', content=b'{"text": "a"}')
  assert answer.status_code == 507 and 'no space' in answer.json()['error']


def test_the_page_and_the_health_are_shown(client):
  assert client.get('/').text == '<p>page'
  assert client.get('/healthz').text == 'ok\n'


def test_a_server_listens_and_a_port_in_use_is_named(journal):
  server = inbox.Server(inbox.make_app(journal), 0)
  try:
    url = f'http://127.0.0.1:{server.port}/events'
    assert httpx.post(url, content=b'{"text": "a"}').json()['accepted'] == 1
  finally:
    server.stop()
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    with pytest.raises(ConfigError, match='--port=.*give a port that is free'):
      inbox.Server(inbox.make_app(journal), taken.getsockname()[1])


def test_who_is_told_the_port_can_connect():
  # Before uvicorn has taken the socket over.
  with inbox._bind(0) as bound:
    socket.create_connection(bound.getsockname(), timeout=5).close()
