"""A real `gpt-jax serve` under small doses of every fault of its matrix.

`make faults FAULT_FLAGS=--only=serve` gives the full ones; docs/serving_faults.md has
their figures.
"""

import random

import pytest

from tests.faults import (
  malformed,
  server_ends,
  server_fuzz,
  server_input,
  server_load,
  servers,
)
from tests.faults.servers import SLOTS, Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('servers')


@pytest.fixture(scope='module')
def workdir(folder):
  return servers.train(folder)


@pytest.fixture(scope='module')
def server(folder, workdir):
  with Server(folder, workdir, '--read_seconds=2', '--drain_seconds=20') as server:
    yield server


@pytest.fixture
def rng():
  return random.Random(0)


def require_good(row):
  assert row['nothing_lost'], f'{row["outcomes"]}\n{row["message"]}'
  assert row['tries'] == sum(row['outcomes'].values()) > 0


def test_one_of_each_kind_of_malformed_request_is_refused(server, rng):
  row = server_fuzz.fuzz_server(server, 10 * len(malformed.KINDS), rng)
  require_good(row)


def test_sizes_without_end_are_refused_before_they_are_read(server):
  require_good(server_fuzz.send_sizes_to(server, 1))


def test_numbers_at_their_limits_compile_nothing(server):
  require_good(server_input.send_bounds_to(server))


def test_no_name_is_a_path(server, workdir):
  require_good(server_input.traverse_in(server, 1, server_input.NAMES))


def test_other_hosts_and_origins_are_refused(server):
  require_good(server_input.cross_origins_to(server, 1))


def test_slow_sockets_do_not_hold_others_up(server, monkeypatch):
  # How much slower others are is for the lane: other tests run at the same time here.
  monkeypatch.setattr(server_load, 'MOST_SLOWER', 20)
  require_good(server_load.drip_into(server, 30, 3))


def test_overload_is_refused_at_once_and_nothing_is_lost(server, monkeypatch):
  monkeypatch.setattr(server_load, 'LEAST_THROUGHPUT', 0.1)
  require_good(server_load.overload_server(server, 2))


def test_slots_are_free_after_clients_have_gone(server, rng):
  require_good(server_load.disconnect_from(server, 5 * SLOTS, rng))


def test_a_poisoned_request_fails_alone(server):
  require_good(server_ends.poison_server(server, 2))


def test_a_server_ends_its_work_after_sigterm(server):
  # The last one that uses this server.
  require_good(server_ends.stop_server(server, 0.1))


def test_forged_keys_open_no_route_and_keys_share_nothing(folder, workdir, rng):
  with Server(folder, workdir, with_keys=True) as server:
    require_good(server_input.forge_for(server, 0, rng))
    require_good(server_ends.leak_from(server, 4 * SLOTS, rng))
    _check_limits(server)


def _check_limits(server):
  """Scopes are 403, limits 429 with Retry-After, and both are counted in the store."""
  answers = [server.complete('words', 'slow', max_tokens=1) for _ in range(3)]
  assert [one.status for one in answers] == [200, 200, 429]
  assert 1 <= int(answers[-1].headers['retry-after']) <= 30
  assert 'requests per minute' in answers[-1].json['error']['message']
  assert server.complete('words', 'root', max_tokens=1).status == 403
  assert server.ask('POST', '/admin/reload', b'', 'a').status == 403
  found = server.key('slow')
  assert (found.requests, found.tokens) == (2, 12)


def test_a_dead_engine_ends_the_process(folder, workdir):
  row = dict(outcomes={}, nothing_lost=True, message='', tries=1)
  with Server(folder, workdir) as server:
    require_good(server_ends.with_death(row, server))
