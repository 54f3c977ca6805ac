"""Secrets have one form, and what is stored of them does not show them."""

import hashlib

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.keys import key as keys


def test_a_secret_names_its_id_and_has_256_random_bits():
  made = [keys.make_secret() for _ in range(50)]
  for identity, secret in made:
    assert secret.startswith(f'gj-{identity}-')
    assert len(secret.removeprefix(f'gj-{identity}-')) == 43  # 32 bytes in base 64
    assert keys.id_of(secret.encode()) == identity
  assert len({secret for _, secret in made}) == 50


def test_only_the_whole_secret_has_the_digest():
  _, secret = keys.make_secret()
  secret = secret.encode()
  stored = keys.digest(secret)
  assert stored == hashlib.sha256(secret).digest()
  assert keys.is_digest_of(stored, secret)
  assert not keys.is_digest_of(stored, secret[:-1])
  assert not keys.is_digest_of(b'', secret)


@pytest.mark.parametrize('change', [
  lambda s: b'', lambda s: s[:-1], lambda s: s + b'A', lambda s: s + b'\n',
  lambda s: s + s, lambda s: s + b' ' + s, lambda s: s.upper(), lambda s: b' ' + s,
  lambda s: s.replace(b'gj', 'gï'.encode()), lambda s: s[:-1] + b'\xff',
  lambda s: s[:-1] + b'\0',
])  # fmt: skip
def test_other_forms_name_no_id(change):
  _, secret = keys.make_secret()
  assert keys.id_of(change(secret.encode())) is None


@pytest.mark.parametrize('values, shown', [
  (dict(name=''), "name=''"), (dict(name='a\nb'), "name='a\\nb'"),
  (dict(name='x' * 101), 'name='), (dict(scopes=['chat', 'chats']), "scopes='chats'"),
  (dict(scopes=[]), 'scopes='),
  (dict(limits=dict(tokens_per_day=0)), 'tokens_per_day=0'),
  (dict(limits=dict(requests_per_minute=-1)), 'requests_per_minute=-1'),
  (dict(limits=dict(tokens_per_minute=2**63)), 'tokens_per_minute=9223372036854775808'),
])  # fmt: skip
def test_values_that_no_key_can_have_are_named(values, shown):
  good = dict(name='a', scopes=['chat'], models=[], limits={})
  assert keys.checked(**good) == (('chat',), ())
  with pytest.raises(ConfigError) as error:
    keys.checked(**good | values)
  assert shown in str(error.value)
