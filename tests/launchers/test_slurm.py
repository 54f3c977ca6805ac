"""SLURM's flags, and the calls of sbatch that --dry_run shows and `launch` makes."""

import re
import subprocess

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.launchers import slurm
from gpt_jax.launchers.description import Description, Task
from tests.launchers import fake_slurm


@pytest.fixture
def programs(tmp_path, monkeypatch):
  (tmp_path / 'bin').mkdir()
  return fake_slurm.Programs(tmp_path / 'bin', monkeypatch)


def description(tmp_path, **fields):
  values = dict(command=('train',), name='mine', workdir=str(tmp_path / 'run'))
  return Description(**values | dict(folder=str(tmp_path)) | fields)


@pytest.mark.parametrize(
  'limit, seconds',
  [
    ('30', 1800), ('2:30', 150), ('1:00:05', 3605), ('1-12', 129600),
    ('1-0:30', 88200), ('2-1:00:01', 176401), ('soon', None), ('1:2:3:4', None),
  ],
)  # fmt: skip
def test_time_limits_are_read_as_sbatch_reads_them(limit, seconds):
  assert slurm.seconds_of(limit) == seconds


@pytest.mark.parametrize(
  'words, fields, expected',
  [
    (['--time=4'], {}, '--time=4: are 240 s, and --save_seconds=300'),
    (['--time=x'], {}, '--time=x: expected minutes'),
    (['--mem=64GB'], {}, '--mem=64GB: expected megabytes'),
    (['--task_per=gpu'], {}, 'Give --gpus_per_node=N'),
    (['--sbatch=-p x'], {}, '--sbatch=-p x: expected a flag'),
    ([], dict(topology='v5e-16'), '--topology=v5e-16: SLURM knows nodes'),
    ([], dict(name='a b'), "--name='a b': expected a name without spaces"),
  ],
)
def test_a_mistake_is_told_with_a_way_out(words, fields, expected, programs, tmp_path):
  found = slurm.problems(description(tmp_path, **fields), fake_slurm.flags(*words))
  assert len(found) == 1 and expected in found[0]


def test_missing_programs_are_told_with_their_package(tmp_path, monkeypatch):
  monkeypatch.setenv('PATH', str(tmp_path))
  (found,) = slurm.problems(description(tmp_path), fake_slurm.flags())
  assert 'no sbatch, srun, scontrol, scancel, sinfo on this machine' in found
  assert 'apt install slurm-client' in found


def test_a_dry_run_in_a_shell_does_what_a_launch_does(programs, tmp_path):
  programs.does('sbatch', "echo '12;cluster'")
  tasks = (Task('b', ('--only=b',), ('a',)), Task('a', ('--only=a',)))
  run, args = description(tmp_path, tasks=tasks, at_once=3), fake_slurm.flags()
  assert slurm.launch(run, args) == 0
  launched = [call for call in programs.calls() if call.startswith('sbatch')]
  last = programs.stdin('sbatch')
  assert launched == ['sbatch --parsable', 'sbatch --parsable --dependency=afterany:12']
  assert '#SBATCH --array=0-0%3' in last and '--only=b' in last

  programs.does('sbatch', 'echo 12')
  subprocess.run(['bash'], input=slurm.dry_run(run, args), text=True, check=True)
  assert programs.calls()[-2:] == launched
  assert programs.stdin('sbatch') == last


def test_what_sbatch_refuses_is_bad_input(programs, tmp_path):
  programs.does('sbatch', 'echo "invalid account" >&2; exit 1')
  with pytest.raises(ConfigError, match='sbatch ended with exit code 1: invalid acc'):
    slurm.launch(description(tmp_path), fake_slurm.flags())


def test_logs_of_a_bucket_run_are_in_a_folder(tmp_path):
  run = description(tmp_path, workdir='gs://bucket/run')
  assert f'mkdir -p {tmp_path}/slurm-logs/mine\n' in slurm.dry_run(
    run, fake_slurm.flags()
  )


@pytest.mark.parametrize(
  'at_once, expected',
  [
    (0, [('0-3', ''), ('0-0', ''), ('0-1', ':1:2')]),
    (2, [('0-3%2', ''), ('0-0%2', ':1'), ('0-1%2', ':2')]),
  ],
)
def test_a_large_sweep_is_several_arrays(programs, tmp_path, at_once, expected):
  programs.does('scontrol', "echo 'MaxArraySize            = 4'")
  tasks = [Task(f'a{n}', (f'--only=a{n}',)) for n in range(5)]
  tasks += [Task(f'b{n}', (f'--only=b{n}',), ('a4',)) for n in range(2)]
  run = description(tmp_path, tasks=tuple(tasks), at_once=at_once)
  shown = slurm.dry_run(run, fake_slurm.flags())
  arrays = re.findall(r'--array=(\S+)', shown)
  after = re.findall(r'sbatch --parsable(?: --dependency=afterany(\S*))? <<', shown)
  after = [text.replace('$job', '') for text in after]
  assert list(zip(arrays, after, strict=True)) == expected
  assert re.findall(r'--only=(\w\d)', shown) == [task.name for task in tasks]


def test_a_later_refusal_cancels_what_was_submitted(programs, tmp_path):
  tasks = (Task('b', ('--only=b',), ('a',)), Task('a', ('--only=a',)))
  programs.does(
    'sbatch', 'case $* in *afterany*) echo "job limit" >&2; exit 1;; esac; echo 12'
  )
  with pytest.raises(ConfigError, match='job limit[^$]*cancelled: 12'):
    slurm.launch(description(tmp_path, tasks=tasks), fake_slurm.flags())
  assert programs.calls()[-1] == 'scancel 12'
