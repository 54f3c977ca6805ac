"""A real server as it is watched: its numbers, its log and its page agree."""

import argparse
import json

import httpx
import pytest
from prometheus_client import parser as prometheus

from gpt_jax.commands import serve_hooks
from tests.serving import served
from tests.serving.browser import open_browser

NAME = served.NAME


@pytest.fixture(scope='module')
def log_path(tmp_path_factory):
  return tmp_path_factory.mktemp('logs') / 'requests.jsonl'


@pytest.fixture(scope='module')
def watched(log_path):
  parser = argparse.ArgumentParser()
  serve_hooks.add_arguments(parser)
  args, _ = parser.parse_known_args([f'--request_log={log_path}'])
  loaded = served.models()
  hooks = serve_hooks.make(args, lambda: loaded)
  with served.serve(loaded, hooks) as found:
    yield found


def scrape(server):
  """Returns `{(name, sorted labels): value}` of /metrics."""
  text = httpx.get(f'{server.url}/metrics').text
  return {
    (
      sample.name.removeprefix('gpt_jax_'),
      *sorted(sample.labels.values()),
    ): sample.value
    for family in prometheus.text_string_to_metric_families(text)
    for sample in family.samples
  }


def grown(before, after, *key):
  return after.get(key, 0) - before.get(key, 0)


@pytest.mark.parametrize('stream', [False, True])
def test_numbers_are_those_that_the_client_was_told(watched, stream):
  before = scrape(watched)
  body = dict(prompt='some words', max_tokens=9, stream=stream)
  if stream:
    body['stream_options'] = {'include_usage': True}
  text = watched.post('/v1/completions', **body).text
  lines = [line for line in text.split('\n') if line.startswith('data: {')]
  usage = json.loads(lines[-1][6:] if stream else text)['usage']
  served.wait_until(
    lambda: grown(before, scrape(watched), 'requests_total', '/v1/completions', '200')
  )
  after = scrape(watched)
  for name, told in (
    ('prompt_tokens_total', 'prompt_tokens'),
    ('new_tokens_total', 'completion_tokens'),
  ):
    assert grown(before, after, name, NAME) == usage[told]
  assert grown(before, after, 'first_token_seconds_count', NAME) == 1
  assert after['requests_in_flight',] == 1  # the scrape itself
  assert after['slots', NAME] == served.SLOTS and after['engine_up', NAME] == 1


def test_a_request_is_found_in_the_log_by_its_id(watched, log_path):
  answer = watched.post('/v1/completions', prompt='some words', max_tokens=3)
  identity = answer.headers['x-request-id']

  def entries():
    found = map(json.loads, log_path.read_text().splitlines())
    return [entry for entry in found if entry['id'] == identity]

  served.wait_until(entries)
  (entry,) = entries()
  assert (entry['status'], entry['outcome'], entry['new_tokens']) == (200, 'ok', 3)
  assert entry['seconds'] >= entry['first_token_seconds'] >= entry['queue_seconds']
  assert 'some words' not in log_path.read_text()


def test_a_wrong_request_counts_by_the_code_of_its_error(watched):
  before = scrape(watched)
  code = watched.post('/v1/completions', prompt='a', model='other').json()['error'][
    'code'
  ]
  served.wait_until(lambda: grown(before, scrape(watched), 'errors_total', code) == 1)


def test_a_client_that_goes_is_no_failure_of_the_server(watched):
  before = scrape(watched)
  body = {'model': NAME, 'prompt': 'a', 'max_tokens': 60, 'stream': True}
  with httpx.stream('POST', f'{watched.url}/v1/completions', json=body) as answer:
    next(answer.iter_lines())
  served.wait_until(
    lambda: grown(before, scrape(watched), 'requests_total', '/v1/completions', '200')
  )
  assert not any(
    '50' in key[-1] for key in scrape(watched) if key[0] == 'requests_total'
  )


def test_the_chat_page_comes_with_its_policy(watched):
  answer = httpx.get(watched.url)
  assert answer.headers['content-type'] == 'text/html; charset=utf-8'
  assert answer.headers['content-security-policy'].startswith("default-src 'none'")
  assert httpx.get(f'{watched.url}/static/../app.py').status_code == 404


@pytest.mark.extra
@pytest.mark.slow
def test_a_browser_chats_with_the_server(watched):
  with open_browser() as browser:
    page = browser.new_page()
    page.goto(watched.url)
    page.locator('#model:enabled').wait_for()
    page.fill('#prompt', 'Hi')
    page.press('#prompt', 'Enter')
    page.locator('.again >> nth=0').wait_for()
    assert page.locator('.problem').count() == 0
    assert 'tokens/s' in page.locator('.numbers >> nth=-1').text_content()
