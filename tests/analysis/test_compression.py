"""Costs of compressing a finished run, with an outlier feature and without."""

import numpy as np
import pytest

from gpt_jax.analysis import compression
from gpt_jax.core.errors import ConfigError


def test_a_method_costs_what_the_new_run_loses(plain_run):
  found = compression.cost(str(plain_run), 'int8')
  assert abs(found.difference) < 0.01
  assert 0.2 < found.share < 0.45


@pytest.mark.slow
def test_an_outlier_changes_nothing_but_what_rounding_loses(plain_run):
  run = str(plain_run)
  full = compression.cost(run, 'bfloat16', 50.0)
  assert abs(full.difference) < 0.02
  broken, whole = (
    compression.cost(run, method, 50.0).difference
    for method in ('w8a8:smoothing=0', 'llm_int8')
  )
  assert abs(whole) < abs(broken)


@pytest.mark.slow
def test_the_command_prints_a_row_a_method(plain_run, capsys):
  compression.main([str(plain_run), 'int8', 'nf4'])
  lines = capsys.readouterr().out.splitlines()
  assert sum(line.strip().startswith(('int8', 'nf4')) for line in lines) == 2
  with pytest.raises(ConfigError, match='expected one of'):
    compression.main([str(plain_run), 'int9'])
  assert np.isfinite(compression._loss(str(plain_run)))
