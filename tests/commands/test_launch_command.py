"""`gpt-jax launch`: the command after --, and what is refused before it starts."""

import os
import subprocess
import sys

import pytest

from gpt_jax import cli
from gpt_jax.workdir.paths import Workdir
from tests.launchers import fake_slurm
from tests.storage.buckets import bucket, bucket_server_here  # noqa: F401
from tests.sweeps import studies


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


@pytest.mark.slow
def test_a_bucket_without_permission_is_told_before_anything(
  bucket,  # noqa: F811
  tmp_path,
  monkeypatch,
  capfd,
):
  programs = fake_slurm.Programs(tmp_path, monkeypatch)
  study = studies.write(tmp_path)
  bucket[1].refused = 'writes'
  place, config = '--where=slurm', '--config=tiny'
  for words in (
    ['launch', place, '--', 'train', config, f'--workdir={bucket[0]}'],
    ['launch', place, '--shards=2', '--', 'prepare', config, f'--out={bucket[0]}'],
    ['sweep', str(study), place, f'--workdir={bucket[0]}'],
  ):
    assert cli.main(words) == 5
    assert 'permission denied' in capfd.readouterr().err
  assert programs.calls() == []


def test_mistakes_of_flags_and_command_are_told_together(capsys):
  flags = ['--where=slurm', '--nodes=2', '--time=soon', '--shards=0', '--dry_run']
  assert cli.main(['launch', *flags, '--', 'generate', '--workdri=x']) == 2
  said = capsys.readouterr().err
  for part in ('--shards=0: expected', '--time=soon: expected', 'one process, and 2'):
    assert part in said
  assert 'did you mean --workdir' in said
