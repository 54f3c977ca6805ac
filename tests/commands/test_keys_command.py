"""gpt-jax keys makes, lists and revokes keys, and shows a secret once."""

import json

import pytest

from gpt_jax import cli
from gpt_jax.keys.store import KeyStore


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
  """Returns a function of words: (exit code, output, errors) of `gpt-jax keys`."""
  monkeypatch.setenv('GPT_JAX_KEYS', str(tmp_path / 'keys.sqlite'))

  def run(*words):
    code = cli.main(['keys', *words])
    return code, *capsys.readouterr()

  return run


def test_a_quiet_create_prints_the_secret_alone(call, tmp_path):
  code, output, errors = call('create', '--name=alice', '--quiet')
  assert (code, errors) == (0, '')
  with KeyStore(tmp_path / 'keys.sqlite') as store:
    assert store.authenticate(output.removesuffix('\n').encode()).name == 'alice'


def test_create_list_and_revoke_tell_the_same_key(call):
  _, output, _ = call(
    'create', '--name=alice', '--scopes=chat,models', '--models=tiny,big',
    '--expires=30d', '--requests_per_minute=60', '--tokens_per_minute=1000',
    '--tokens_per_day=5000', '--json',
  )  # fmt: skip
  made = json.loads(output.splitlines()[-1])
  secret = made.pop('secret')
  assert output.count(secret) == 2 and 'shown this once' in output
  _, output, errors = call('list', '--json')
  assert json.loads(output.splitlines()[-1]) == {'keys': [made]}
  assert secret[-43:] not in output + errors
  for word in ('alice', 'active', 'chat models', 'tiny big', '60 requests/minute'):
    assert word in output
  code, output, _ = call('revoke', made['id'])
  assert code == 0 and f'{made["id"]} (alice): revoked 20' in output
  assert 'revoked' in call('list')[1]


@pytest.mark.parametrize('words, text', [
  (['create'], 'give --name=NAME'),
  (['create', '--name=a', '--scopes=all'], "scopes='all': expected some"),
  (['create', '--name=a', '--expires=soon'], 'expires=soon: expected a time from now'),
  (['create', '--name=a', '--tokens_per_day=0'], 'tokens_per_day=0'),
  (['create', 'alice'], "'alice' stands without a flag"),
  (['revoke'], 'give the ids of keys'),
])  # fmt: skip
def test_mistakes_are_told_in_one_message(call, words, text):
  code, output, errors = call(*words)
  assert (code, output) == (2, '') and text in errors and 'Traceback' not in errors


def test_no_key_is_revoked_where_one_id_is_wrong(call):
  call('create', '--name=alice')
  made = json.loads(call('list', '--json')[1].splitlines()[-1])['keys'][0]
  code, _, errors = call('revoke', made['id'], 'ffffffffffff')
  assert code == 2 and 'ffffffffffff: ' in errors
  assert 'active' in call('list')[1]


def test_a_file_that_others_may_read_ends_with_code_5(call, tmp_path):
  call('create', '--name=alice')
  (tmp_path / 'keys.sqlite').chmod(0o644)
  code, _, errors = call('list')
  assert code == 5 and 'chmod 600' in errors
