"""The load test as a program: servers that are there, and those that do not start."""

import pytest

from gpt_jax.benchmarks import load_figure, serving_load
from gpt_jax.core.errors import ConfigError, DataError
from tests.serving.fake_server import FakeServer, serving


def test_servers_that_are_there_are_loaded_in_turn(tmp_path, capsys, monkeypatch):
  fakes = FakeServer(), FakeServer()
  monkeypatch.setattr(serving_load.Remote, 'ready', _is_ready)
  with serving(fakes[0].app()) as one, serving(fakes[1].app()) as other:
    rows = serving_load.main([
      f'--address={one}', f'--address={other}', '--model=plain', '--requests=6',
      '--clients=2', '--rates=50,100', '--seconds=0.1', '--rounds=1',
      f'--figure={tmp_path / "load.png"}', f'--json={tmp_path / "load.json"}',
    ])  # fmt: skip
  assert [(row['loop'], row['requests'], row['failed']) for row in rows] == [
    ('closed', 6, 0), ('open', 5, 0), ('open', 10, 0),
  ]  # fmt: skip
  assert rows[0]['by_address'] == {one: 3, other: 3}
  assert rows[0]['tokens_per_second'] > 0
  assert '| 2 | closed, 2 clients |' in capsys.readouterr().out
  assert (tmp_path / 'load.png').exists() and (tmp_path / 'load.json').exists()


def test_rounds_end_in_medians_of_rates_and_sums_of_counts():
  row = dict(
    processes=2, loop='closed', rate=None, server_cores=1.0, requests=4, answered=4,
    refused=0, failed=0, unsent=0,
  )  # fmt: skip
  rows = [
    row | dict(tokens_per_second=speed, failed=failed)
    for speed, failed in ((5.0, 0), (1.0, 1), (3.0, 0))
  ]
  (found,) = serving_load.medians(rows)
  assert found['tokens_per_second'] == 3.0
  assert (found['failed'], found['requests']) == (1, 12)


@pytest.mark.parametrize(
  'low, high, ticks',
  [
    (11, 30, [10, 20, 50]), (10, 10, [10, 20]), (0.3, 4, [0.2, 0.5, 1, 2, 5]),
    (900, 1000, [500, 1000]),
  ],
)  # fmt: skip
def test_ticks_are_plain_numbers_around_what_is_drawn(low, high, ticks):
  assert load_figure.plain_ticks(low, high) == ticks


async def _is_ready(self):
  pass  # the fake has no /readyz


def test_a_server_that_is_not_ready_is_named():
  with pytest.raises(DataError, match='--address=http://127.0.0.1:1'):
    serving_load.main(['--address=http://127.0.0.1:1'])


def test_servers_are_either_started_or_named():
  with pytest.raises(ConfigError, match='--workdir=RUN'):
    serving_load.main([])


@pytest.mark.slow
def test_a_server_that_ends_is_told_with_its_message(tmp_path):
  with pytest.raises(DataError, match='did not start'):
    serving_load.main([f'--workdir={tmp_path}', '--processes=1'])
