"""Fixtures of the benchmarks' tests."""

import pytest

from tests.benchmarks.small_workloads import make_timed


@pytest.fixture
def timed(tmp_path):
  return make_timed(tmp_path)
