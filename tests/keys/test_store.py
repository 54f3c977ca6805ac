"""Keys are found by their secret alone, and limits hold for all who share a store."""

import datetime
import random
import subprocess
import sys
import threading

import pytest

from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.keys.key import digest
from gpt_jax.keys.limits import LimitError
from gpt_jax.keys.store import KeyStore

START = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


class Clock:
  """A clock that stands until it is moved, in seconds."""

  def __init__(self):
    self.seconds = START.timestamp()

  def __call__(self):
    return self.seconds


@pytest.fixture
def clock():
  return Clock()


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'keys.sqlite'


@pytest.fixture
def store(path, clock):
  with KeyStore(path, create=True, clock=clock) as store:
    yield store


def admitted(store, key, count, tokens=0):
  """Returns how many of `count` requests are admitted."""
  passed = 0
  for _ in range(count):
    try:
      store.admit(key, tokens)
    except LimitError:
      continue
    passed += 1
  return passed


def test_a_secret_finds_its_key_as_it_was_made(store):
  made, secret = store.create(
    'alice', ['chat', 'models'], START + datetime.timedelta(days=1), 1, 2, 3, ['tiny']
  )
  store.create('bob')
  found = store.authenticate(secret.encode())
  assert found == made
  assert (found.name, found.scopes, found.models) == (
    'alice', ('chat', 'models'), ('tiny',)
  )  # fmt: skip
  assert (found.created, found.last_used) == (START, None)
  assert found.allows('chat') and not found.allows('metrics')
  assert found.allows_model('tiny') and not found.allows_model('other')


def test_scopes_stand_alone_and_no_models_are_all(store):
  key, _ = store.create('root', ['admin'])
  assert key.allows('admin') and not key.allows('chat') and key.allows_model('any')


def test_no_secret_is_in_the_file(store, path):
  _, secret = store.create('alice')
  content = b''.join(one.read_bytes() for one in path.parent.iterdir())
  assert digest(secret.encode()) in content
  assert secret.encode() not in content and secret[-43:].encode() not in content


def test_a_thousand_forged_secrets_find_nothing(store):
  secrets = [store.create(f'client {n}')[1].encode() for n in range(3)]
  rng = random.Random(0)
  for _ in range(1000):
    forged = bytearray(rng.choice(secrets))
    how = rng.randrange(4)
    if how == 0:
      forged[rng.randrange(len(forged))] ^= 1 << rng.randrange(8)
    elif how == 1:
      del forged[rng.randrange(len(forged)) :]
    elif how == 2:
      forged.insert(rng.randrange(len(forged) + 1), rng.randrange(256))
    else:  # another key's id
      forged[:15] = rng.choice([s for s in secrets if s != forged])[:15]
    assert store.authenticate(bytes(forged)) is None, forged
  for odd in (b'', b'\xff\xfe', secrets[0] + b',' + secrets[0], secrets[0] * 2):
    assert store.authenticate(odd) is None


def test_a_revoked_key_holds_no_longer(store, clock):
  assert not store.has_keys()
  key, secret = store.create('alice')
  clock.seconds += 5
  revoked = store.revoke(key.id)
  assert revoked.state(store.now()) == 'revoked'
  assert store.has_keys()  # nobody may ask, which is not that all may
  assert store.authenticate(secret.encode()) is None
  clock.seconds += 5
  assert store.revoke(key.id) == revoked  # keeps its first moment
  with pytest.raises(ConfigError, match='nobody: .* no key of this id'):
    store.revoke('nobody')


def test_a_key_ends_at_its_moment(store, clock):
  _, secret = store.create('alice', expires=START + datetime.timedelta(seconds=10))
  clock.seconds += 9.5
  assert store.authenticate(secret.encode())
  clock.seconds += 0.5
  assert store.authenticate(secret.encode()) is None
  assert store.list()[0].state(store.now()) == 'expired'


@pytest.mark.parametrize('limit', [1, 3, 7, 60])
def test_requests_of_a_minute_pass_and_one_more_does_not(store, clock, limit):
  key, _ = store.create('alice', requests_per_minute=limit)
  assert admitted(store, key, 2 * limit) == limit
  with pytest.raises(LimitError) as error:
    store.admit(key)
  assert error.value.what == 'requests_per_minute'
  clock.seconds += error.value.retry_after - 1
  if limit <= 60 and 60 % limit == 0:
    assert admitted(store, key, 1) == 0
  clock.seconds += 1
  assert admitted(store, key, 2) >= 1
  clock.seconds += 600
  assert admitted(store, key, 2 * limit) == limit  # a bucket does not overflow


def test_tokens_of_an_answer_are_counted_after_it(store, clock):
  key, _ = store.create('alice', tokens_per_minute=600)
  store.charge(key, 650, store.admit(key))
  with pytest.raises(LimitError) as error:
    store.admit(key)
  assert (error.value.what, error.value.retry_after) == ('tokens_per_minute', 6)
  store.admit(key, tokens=None)  # a list of models takes none
  clock.seconds += 6
  store.admit(key)
  found = store.find(key.id)
  assert (found.tokens, found.requests, found.last_used) == (650, 3, store.now())


def test_what_was_reserved_and_not_used_comes_back(store):
  key, _ = store.create('alice', tokens_per_minute=100, tokens_per_day=100)
  for _ in range(9):
    store.charge(key, 10, store.admit(key, 95 - 85))
  one = store.admit(key, 10)
  for limit in ('tokens_per_minute', 'tokens_per_day'):
    with pytest.raises(LimitError):
      store.admit(key, 1)
    assert getattr(key, limit) == 100
  store.charge(key, 3, one)
  assert admitted(store, key, 2, tokens=7) == 1
  assert store.find(key.id).tokens == 93


def test_a_request_larger_than_a_minute_waits_for_a_full_one(store, clock):
  key, _ = store.create('alice', tokens_per_minute=100)
  store.charge(key, 250, store.admit(key, 250))
  with pytest.raises(LimitError) as error:
    store.admit(key, 250)
  assert error.value.retry_after == 150
  clock.seconds += 150
  store.admit(key, 250)


def test_a_budget_is_of_the_day_that_admitted_the_request(store, clock):
  key, _ = store.create('alice', tokens_per_day=100)
  late = store.admit(key, 60)
  assert admitted(store, key, 1, tokens=41) == 0
  clock.seconds += 12 * 3600  # midnight
  new = store.admit(key, 100)
  store.charge(key, 60, late)  # of yesterday
  store.charge(key, 90, new)
  assert admitted(store, key, 1, tokens=11) == 0
  assert admitted(store, key, 1, tokens=10) == 1


def test_a_charge_without_admission_counts_today(store, clock):
  key, _ = store.create('alice', tokens_per_day=100)
  store.charge(key, 70)
  clock.seconds += 24 * 3600
  store.charge(key, 95)
  assert admitted(store, key, 1, tokens=6) == 0
  assert admitted(store, key, 1, tokens=5) == 1


def test_a_refused_request_counts_nowhere(store):
  key, _ = store.create('alice', requests_per_minute=1, tokens_per_day=50)
  store.admit(key, 20)
  for _ in range(3):
    with pytest.raises(LimitError):
      store.admit(key, 20)
  assert store.find(key.id).requests == 1


def test_a_key_that_was_deleted_is_named(store):
  key, _ = store.create('alice')
  store._run(store._statements.table.delete())
  with pytest.raises(ConfigError, match=f'{key.id}: .* no key of this id any more'):
    store.admit(key)


def test_a_store_that_breaks_lets_nobody_in(store):
  key, secret = store.create('alice')
  store._run(store._sa.text('DROP TABLE gpt_jax_keys'))
  for call in (lambda: store.authenticate(secret.encode()), lambda: store.admit(key)):
    with pytest.raises(StorageError, match='cannot be used .*no such table'):
      call()


CLIENT = """
import sys, threading
from gpt_jax.keys.limits import LimitError
from gpt_jax.keys.store import KeyStore

store = KeyStore(sys.argv[1])
key, passed = store.list()[0], []

def client(number):
  while True:
    try:
      admission = store.admit(key, 10)
    except LimitError:
      return
    store.charge(key, 7, admission)
    passed.append(number)

threads = [threading.Thread(target=client, args=(n,)) for n in range(3)]
for one in threads: one.start()
for one in threads: one.join()
print(len(passed))
"""


def test_a_budget_holds_for_processes_and_threads_at_once(path):
  with KeyStore(path, create=True) as store:
    key, _ = store.create('alice', tokens_per_day=2000)
    command = [sys.executable, '-c', CLIENT, str(path)]
    clients = [
      subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    passed = [int(client.communicate()[0]) for client in clients]
    found = store.find(key.id)
    assert found.tokens == 7 * sum(passed) and found.requests == sum(passed)
    assert 2000 - 10 < found.tokens <= 2000  # whoever of them took it


def test_requests_at_one_moment_pass_no_limit_together(store):
  key, _ = store.create('alice', requests_per_minute=25)
  passed = []
  threads = [
    threading.Thread(target=lambda: passed.append(admitted(store, key, 10)))
    for _ in range(6)
  ]
  for one in threads:
    one.start()
  for one in threads:
    one.join()
  assert sum(passed) == 25


def test_processes_that_open_a_new_store_at_once_all_succeed(path):
  code = (
    'import sys; from gpt_jax.keys.store import KeyStore; '
    'KeyStore(sys.argv[1], create=True).create("x")'
  )
  command = [sys.executable, '-c', code, str(path)]
  assert [p.wait() for p in [subprocess.Popen(command) for _ in range(3)]] == [0] * 3
  with KeyStore(path) as store:
    assert len(store.list()) == 3


def test_budgets_are_told_as_shares_of_today(store, clock):
  key, _ = store.create('alice', tokens_per_day=100)
  store.create('bob')  # without a budget
  gone, _ = store.create('carol', tokens_per_day=100)
  store.revoke(gone.id)
  store.charge(key, 40)
  assert store.budget_shares() == {key.id: 0.4}
  clock.seconds += 24 * 3600
  assert store.budget_shares() == {key.id: 0.0}
