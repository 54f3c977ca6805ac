"""The batch script, run by a real bash: what it asks for, and what it makes of ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from gpt_jax.launchers import slurm_script
from gpt_jax.launchers.description import Description, Task
from tests.launchers import fake_slurm

RUN = Description(('train', '--config=c.py', '--workdir=a b'), 'mine', folder='/')
TASKS = (Task('a', ('--only=a',)), Task('b', ("--only=it's b",)))
JOB = {'SLURM_JOB_ID': '7', 'SLURM_JOB_NODELIST': 'n[1-2]'}


@pytest.fixture
def programs(tmp_path, monkeypatch):
  (tmp_path / 'bin').mkdir()
  found = fake_slurm.Programs(tmp_path / 'bin', monkeypatch)
  state = 'JobId=7 JobState=RUNNING Restarts=${SLURM_RESTART_COUNT:-0} BatchFlag=1'
  found.does('scontrol', f'echo "{state}"')
  return found


def start(script, folder, **variables):
  """Starts a batch script as slurmd does: from a file, with SLURM's variables."""
  path = folder / 'script'
  path.write_text(script)
  return subprocess.Popen(
    ['bash', path],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    env=os.environ | JOB | variables,
    text=True,
  )


def ended(script, folder, **variables):
  """Returns (exit code, output) of a script."""
  process = start(script, folder, **variables)
  output, _ = process.communicate(timeout=30)
  return process.returncode, output


def requests(script):
  return [line[8:] for line in script.splitlines() if line.startswith('#SBATCH ')]


def test_it_asks_for_nodes_logs_and_a_time_to_save(tmp_path):
  args = fake_slurm.flags('--time=2:00:00', '--save_seconds=60', '--partition=p')
  script = slurm_script.script(RUN, args, tmp_path / '5% of it')
  assert requests(script) == [
    '--job-name=mine', '--chdir=/',
    f'--output="{tmp_path}/5%% of it/slurm-%j.log"', '--open-mode=append',
    '--nodes=1', '--ntasks-per-node=1', '--time=2:00:00', '--partition=p',
    '--signal=TERM@60', '--exclusive', '--requeue',
  ]  # fmt: skip


def test_a_task_per_gpu_has_cores_of_its_own(tmp_path):
  args = fake_slurm.flags(
    '--gpus_per_node=8', '--task_per=gpu', '--cpus_per_task=12', '--sbatch=--nice'
  )
  asked = requests(slurm_script.script(RUN, args, tmp_path))
  wanted = ['--ntasks-per-node=8', '--gpus-per-node=8', '--cpus-per-task=12', '--nice']
  assert set(wanted) <= set(asked) and '--exclusive' not in asked


def test_srun_gets_the_command_as_it_was_given(programs, tmp_path):
  script = slurm_script.script(RUN, fake_slurm.flags(), tmp_path)
  programs.does('srun', 'printf "<%s>" "$@"')
  code, said = ended(script, tmp_path)
  assert code == 0
  assert f'<--output={tmp_path}/slurm-7.task%t.log>' in said
  assert f'<{sys.executable}><-m><gpt_jax><train><--config=c.py><--workdir=a b>' in said
  assert not [call for call in programs.calls() if 'requeue' in call]


def test_an_element_of_an_array_has_its_own_words(programs, tmp_path):
  args = fake_slurm.flags()
  script = slurm_script.script(RUN, args, tmp_path, TASKS)
  assert '--array=0-1' in requests(script)
  programs.does('srun', 'printf "<%s>" "$@"; exit 75')
  element = {'SLURM_ARRAY_JOB_ID': '5', 'SLURM_ARRAY_TASK_ID': '1'}
  code, said = ended(script, tmp_path, **element)
  assert "<--workdir=a b><--only=it's b>" in said
  assert code == 75
  assert programs.calls()[-1] == 'scontrol requeue 5_1'


@pytest.mark.parametrize(
  'code, said_by_srun, final, requeued',
  [
    (75, '', 75, True),
    (3, '', 3, False),
    (6, '', 6, False),
    (130, '', 130, False),
    (134, '', 134, True),
    # Process 0 has bad data, the other one aborts for the lack of it.
    (134, 'srun: error: n1: task 0: Exited with exit code 3', 3, False),
  ],
)
def test_the_exit_code_decides_on_another_start(
  code, said_by_srun, final, requeued, programs, tmp_path
):
  script = slurm_script.script(RUN, fake_slurm.flags(), tmp_path)
  programs.does('srun', f'echo "{said_by_srun}" >&2; exit {code}')
  assert ended(script, tmp_path)[0] == final
  assert ('scontrol requeue 7' in programs.calls()) == requeued


def test_crashes_are_requeued_as_often_as_allowed(programs, tmp_path):
  script = slurm_script.script(RUN, fake_slurm.flags(), tmp_path)
  programs.does('srun', 'exit 137')
  said = [ended(script, tmp_path, SLURM_RESTART_COUNT=str(n))[1] for n in range(3)]
  assert 'requeued: crash 1 of at most 2' in said[0]
  assert 'start 2, on n[1-2]' in said[1]
  assert 'not requeued: --max_restarts=2 are used up' in said[2]
  assert programs.calls().count('scontrol requeue 7') == 2


def test_a_job_that_slurm_ends_is_not_requeued(programs, tmp_path):
  # `scancel` sends TERM to the processes and to the script.
  programs.does('scontrol', 'echo "JobId=7 JobState=CANCELLED"')
  programs.does('srun', f'touch {tmp_path}/ready; sleep 0.4; exit 75')
  process = start(slurm_script.script(RUN, fake_slurm.flags(), tmp_path), tmp_path)
  while not (tmp_path / 'ready').exists():
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  assert process.wait(timeout=30) == 75
  assert 'scontrol requeue 7' not in programs.calls()


def test_a_start_on_a_lost_node_leaves_the_next_one_alone(programs, tmp_path):
  # SLURM has requeued the job; the node and the processes of this start live on.
  programs.does('scontrol', 'echo "JobId=7 JobState=RUNNING Restarts=1 BatchFlag=1"')
  programs.does('srun', 'exit 134')
  script = slurm_script.script(RUN, fake_slurm.flags(), tmp_path)
  code, said = ended(script, tmp_path)
  assert code == 134 and 'SLURM has ended this start itself' in said
  assert 'scontrol requeue 7' not in programs.calls()
  assert not (tmp_path / 'slurm-7.crashes').exists()


def test_a_run_that_has_lost_a_node_is_not_done(programs, tmp_path):
  programs.does('srun', 'echo "srun: error: Node failure on n2" >&2; exit 0')
  script = slurm_script.script(RUN, fake_slurm.flags(), tmp_path)
  code, said = ended(script, tmp_path)
  assert code == 1 and 'requeued: crash 1 of at most 2' in said
