"""The bench of vectorized runs measures both ways in every round."""

import pytest

from gpt_jax.execution import vectorized_bench
from tests.sweeps import studies


@pytest.mark.slow
def test_the_table_has_a_line_for_each_number_of_runs(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(vectorized_bench.jax.config, 'update', lambda *_: None)
  path = studies.write(tmp_path)
  vectorized_bench.main([str(path), '--runs=1,3', '--rounds=2'])
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[0] for line in lines if line.split()[:1] in (['1'], ['3'])] == [
    '1', '3',
  ]  # fmt: skip
