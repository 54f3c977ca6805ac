"""`gpt-jax launch`: the command after --, and what is refused before it starts."""

import os
import subprocess
import sys

import pytest

from gpt_jax import cli
from gpt_jax.workdir.paths import Workdir


def test_the_command_after_the_dashes_runs_without_jax(capfd):
  program = """if True:
    import sys
    from gpt_jax import cli
    code = cli.main(['launch', '--processes=2', '--', '--version'])
    assert 'jax' not in sys.modules
    sys.exit(code)
  """
  assert subprocess.run([sys.executable, '-c', program]).returncode == 0
  shown = capfd.readouterr()
  assert shown.out.startswith('gpt_jax ')
  assert '[1] gpt_jax ' in shown.err


def test_its_exit_code_is_that_of_the_command(tmp_path, capfd):
  command = ['launch', '--processes=1', '--', 'eval', f'--workdir={tmp_path}']
  assert cli.main(command) == 4
  assert 'no config.json there' in capfd.readouterr().err


@pytest.mark.parametrize(
  'argv, expected',
  [
    (['launch', '--processes=2'], 'stands after --'),
    (['launch', '--processes=2', '--config.seed=1', '--', 'train'], 'stands after --'),
    (['launch', '--processes=0', '--', 'train'], 'a whole number above 0, got 0'),
    (['launch', '--', 'train'], '--processes is missing'),
    (['launch', '--processes=2', '--supervise', '--', 'train'], 'with --workdir'),
    (['launch', '--where=slrum', '--', 'train'], "did you mean 'slurm'?"),
    (['eval', '--workdir=x', '--', 'train'], 'only launch takes a command'),
  ],
)
def test_a_mistake_in_the_command_line_starts_nothing(argv, expected, capsys):
  assert cli.main(argv) == 2
  assert expected in capsys.readouterr().err


def test_a_workdir_of_a_running_process_is_refused(tmp_path, capfd):
  with Workdir(tmp_path).lock():
    before = sorted(tmp_path.iterdir())
    command = ['launch', '--processes=2', '--', 'train', f'--workdir={tmp_path}']
    assert cli.main(command) == 5
    assert sorted(tmp_path.iterdir()) == before
  assert f'process {os.getpid()} on' in capfd.readouterr().err
