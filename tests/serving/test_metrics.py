"""Prometheus's own parser reads what was counted; nothing grows without bound."""

import collections

import pytest

from gpt_jax.serving import metrics
from gpt_jax.serving.metrics import Metrics
from tests.serving.records import record


@pytest.fixture
def made():
  return Metrics('1.0', 'abc')


def value(made, name, **labels):
  return made.registry.get_sample_value(f'gpt_jax_{name}', labels)


def finish(made, **values):
  made.started()
  made.finished(record(**values))


def test_an_answer_counts_once_by_route_and_status(made):
  finish(made)
  assert value(made, 'requests_total', route='/v1/completions', status='200') == 1
  assert value(made, 'requests_in_flight') == 0


def test_a_refused_request_counts_by_class_and_limit(made):
  finish(made, status=429, outcome='rate_limit_exceeded', limit='tokens_per_day')
  assert value(made, 'errors_total', kind='rate_limit_exceeded') == 1
  assert value(made, 'rate_limited_total', limit='tokens_per_day') == 1


def test_an_answer_in_full_is_no_error(made):
  finish(made)
  assert b'gpt_jax_errors_total{' not in made.render()


def test_latencies_fall_into_their_buckets(made):
  finish(made)  # first token after 2 s, half a second for each after it
  bucket = 'first_token_seconds_bucket'
  assert value(made, bucket, model='small', le='1.0') == 0
  assert value(made, bucket, model='small', le='2.5') == 1
  assert value(made, 'token_seconds_sum', model='small') == 0.5
  assert value(made, 'queue_seconds_sum', model='small') == 1.0


def test_a_request_without_a_token_has_no_token_latency(made):
  finish(made, admitted=None, first_token=None, new_tokens=0, status=400, outcome='bad')
  assert value(made, 'first_token_seconds_count', model='small') is None


def test_redactions_and_filter_hits_are_added_up(made):
  finish(made, redactions=collections.Counter(email=2, card=1))
  finish(made)
  assert value(made, 'redactions_total', kind='email') == 4
  assert value(made, 'filter_hits_total', side='answer', rule='weapons') == 2


def test_tokens_in_and_out_are_told_by_model_and_key(made):
  made.written('small', 3)
  finish(made)
  assert value(made, 'new_tokens_total', model='small') == 3
  assert value(made, 'prompt_tokens_total', model='small') == 7
  assert value(made, 'key_tokens_total', key='key-1', side='answer') == 5


def test_more_keys_than_series_share_one(made, monkeypatch):
  monkeypatch.setattr(metrics, 'MAX_KEYS', 2)
  for i in range(5):
    finish(made, key_id=f'key-{i}')
  finish(made, key_id='key-0')
  counts = {
    sample.labels['key']: sample.value
    for family in made.registry.collect()
    for sample in family.samples
    if sample.name == 'gpt_jax_key_requests_total'
  }
  assert counts == {'key-0': 2, 'key-1': 1, 'other': 3}


def test_budgets_are_read_when_a_scrape_comes():
  shares = {'key-1': 0.25}
  made = Metrics('1.0', budgets=lambda: shares)
  shares['key-1'] = 0.75
  assert value(made, 'key_budget_used_ratio', key='key-1') == 0.75


def test_the_parser_of_prometheus_reads_it(made):
  parser = pytest.importorskip('prometheus_client.parser')
  finish(made)
  made.drains()
  made.reloaded('small')
  text = made.render().decode()
  families = {f.name: f for f in parser.text_string_to_metric_families(text)}
  assert families['gpt_jax_build_info'].samples[0].labels['commit'] == 'abc'
  assert families['gpt_jax_draining'].samples[0].value == 1
  assert all(family.documentation for family in families.values())


def test_two_servers_in_a_process_share_nothing(made):
  other = Metrics('1.0')
  finish(made)
  assert value(other, 'requests_total', route='/v1/completions', status='200') is None
