"""`gpt-jax status` reads workdirs and writes nothing."""

import json
import subprocess
import sys

import pytest

from gpt_jax import cli
from tests.sweeps import studies


def test_status_says_how_far_a_study_is(tmp_path, capsys):
  path = studies.write(tmp_path)
  words = ['status', str(path), f'--workdir={tmp_path / "runs"}']
  assert cli.main(words) == 0
  assert '1 points: 1 missing' in capsys.readouterr().out
  assert cli.main([*words, '--json']) == 0
  told = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert told['points'] == [{'name': 'a,seed=0', 'row': 'a', 'state': 'missing'}]
  assert not (tmp_path / 'runs').exists()


@pytest.mark.slow  # a process of its own: what this one has imported proves nothing
def test_status_waits_for_no_library_that_it_does_not_use():
  unused = ['orbax.checkpoint', 'grain', 'jax.experimental.pallas', 'matplotlib']
  program = (
    'import sys; from gpt_jax.execution import overview; from gpt_jax.sweeps import'
    f' points; print([name for name in {unused} if name in sys.modules])'
  )
  done = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == '[]'
