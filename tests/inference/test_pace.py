"""Tokens come in pieces as large as a reader's patience allows."""

import pytest

from gpt_jax.inference import pace
from gpt_jax.inference.pace import Pace


@pytest.fixture
def clock(monkeypatch):
  """A list of one number, the time in seconds."""
  now = [0.0]
  monkeypatch.setattr(pace.time, 'perf_counter', lambda: now[0])
  return now


def write(clock, paced, token_seconds):
  """Returns how many tokens a round wrote, each of which took so long."""
  tokens = paced.tokens()
  with paced.round(tokens):
    clock[0] += tokens * token_seconds
  return tokens


@pytest.mark.parametrize(
  'token_seconds, wanted', [(0.001, 8), (0.02, 5), (0.06, 1), (2.0, 1)]
)
def test_a_round_has_what_is_written_in_its_time(clock, token_seconds, wanted):
  paced = Pace(8, seconds=0.1)
  assert [write(clock, paced, token_seconds) for _ in range(3)] == [1, wanted, wanted]


def test_the_first_token_which_compiles_is_forgotten(clock):
  paced = Pace(8, seconds=0.1)
  write(clock, paced, 30.0)
  assert [write(clock, paced, 0.02) for _ in range(2)] == [1, 5]


def test_a_batch_that_becomes_slower_gets_shorter_rounds(clock):
  paced = Pace(8, seconds=0.1)
  fast = [write(clock, paced, 0.01) for _ in range(6)]
  slow = [write(clock, paced, 0.05) for _ in range(6)]
  assert (fast[-1], slow[-1]) == (8, 2)


def test_without_a_time_each_round_is_as_long_as_allowed(clock):
  paced = Pace(32, seconds=None)
  assert [write(clock, paced, 9.0) for _ in range(3)] == [32, 32, 32]
