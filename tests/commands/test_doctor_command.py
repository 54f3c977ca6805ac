"""`gpt-jax doctor`: a line a check, JSON, and exit code 1 when one fails."""

import json

import pytest

from gpt_jax import cli
from gpt_jax.commands import diagnostics


@pytest.fixture
def findings(monkeypatch, tmp_path):
  """Returns the list that the command will report."""
  found = [diagnostics.Finding('python', diagnostics.OK, '3.12')]
  monkeypatch.setattr(diagnostics, 'examine', lambda **kw: found)
  return found


def test_a_healthy_machine_exits_with_0(findings, capsys):
  findings.append(diagnostics.Finding('disk', diagnostics.WARN, '1 GiB', 'free some'))
  assert cli.main(['doctor', '--json']) == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].split() == ['ok', 'python', '3.12']
  assert '-> free some' in lines[2]
  assert json.loads(lines[-1])['ok'] is True


def test_a_failed_check_exits_with_1(findings, capsys):
  findings.append(
    diagnostics.Finding('jax', diagnostics.FAIL, 'missing', 'pip install jax')
  )
  assert cli.main(['doctor', '--json']) == 1
  report = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert not report['ok'] and report['findings'][1]['fix'] == 'pip install jax'


def test_config_overrides_are_refused(findings, capsys):
  assert cli.main(['doctor', '--config.train.steps=3']) == 2
