"""Flags of gpt-jax serve for what looks at requests, and the Hooks that they give."""

import argparse
import json
from typing import Any

import pytest

from gpt_jax.commands import serve_hooks
from gpt_jax.core.errors import ConfigError, StorageError
from tests.serving.records import record


def hooks(*flags, models=()):
  parser = argparse.ArgumentParser()
  serve_hooks.add_arguments(parser)
  return serve_hooks.make(parser.parse_args(flags), lambda: models)


def test_metrics_and_chat_page_are_there_without_flags():
  made = hooks()
  assert b'gpt_jax_build_info{' in made.metrics.render()
  assert [route.path for route in made.routes][0] == '/'
  assert made.request_log is None and made.tracing is None


def test_the_chat_page_can_be_left_out():
  assert hooks('--no_chat_page').routes == ()


def test_the_request_log_is_closed_with_the_server(tmp_path):
  path = tmp_path / 'requests.jsonl'
  made = hooks(f'--request_log={path}')
  made.request_log.write(record(), prompt='secret')
  for close in made.on_close:
    close()
  assert path.read_text().count('\n') == 1 and 'secret' not in path.read_text()


def test_texts_need_a_log_where_they_stand():
  with pytest.raises(ConfigError, match='--request_log=FILE'):
    hooks('--log_texts')


def test_texts_are_logged_without_personal_data(tmp_path):
  pytest.importorskip('gpt_jax.safety.redaction')
  path = tmp_path / 'requests.jsonl'
  made = hooks(f'--request_log={path}', '--log_texts')
  made.request_log.write(record(), prompt='I am ann@example.org')
  assert '"prompt": "I am [EMAIL]"' in path.read_text()


def test_a_log_that_cannot_be_written_is_told_at_the_start(tmp_path):
  with pytest.raises(StorageError, match='--request_log'):
    hooks(f'--request_log={tmp_path}')


def test_a_policy_and_an_audit_log_are_opened(tmp_path):
  policy, audit = tmp_path / 'policy.json', tmp_path / 'audit.jsonl'
  rule = {'name': 'a', 'type': 'words', 'action': 'refuse', 'words': ['bad']}
  policy.write_text(json.dumps({'rules': [rule]}))
  made: Any = hooks(f'--policy={policy}', f'--audit={audit}')
  assert made.policy.check_prompt('bad').rule == 'a'
  for close in made.on_close:
    close()
  assert made.policy.digest in audit.read_text()


def test_a_policy_that_is_wrong_stops_the_start(tmp_path):
  policy = tmp_path / 'policy.json'
  policy.write_text('{"rules": [{"name": "a", "type": "wordz", "action": "log"}]}')
  with pytest.raises(ConfigError, match=r"rules\[0\].type='wordz'.*'words'"):
    hooks(f'--policy={policy}')
  with pytest.raises(StorageError, match='audit log'):
    hooks(f'--audit={tmp_path}')


def test_budgets_of_keys_are_among_the_metrics(tmp_path):
  from gpt_jax.keys.store import KeyStore

  path = tmp_path / 'keys.sqlite'
  with KeyStore(path, create=True) as store:
    key, _ = store.create('alice', tokens_per_day=100)
    store.charge(key, 25)
  text = hooks(f'--keys={path}').metrics.render().decode()
  assert f'gpt_jax_key_budget_used_ratio{{key="{key.id}"}} 0.25' in text
