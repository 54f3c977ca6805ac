"""What SLURM says of jobs, read from answers of the real programs."""

import pytest

from gpt_jax.launchers import slurm_jobs
from tests.launchers import fake_slurm

RUNNING = 'JobId=7 JobName=a UserId=root(0) JobState=RUNNING Restarts=0 ExitCode=0:0'


@pytest.fixture
def programs(tmp_path, monkeypatch):
  return fake_slurm.Programs(tmp_path, monkeypatch)


@pytest.mark.parametrize(
  'state, code, expected',
  [
    ('COMPLETED', '0:0', 0), ('FAILED', '3:0', 3), ('FAILED', '0:9', 137),
    ('CANCELLED', '0:0', 1), ('NODE_FAIL', '0:0', 1), ('TIMEOUT', '0:15', 143),
  ],
)  # fmt: skip
def test_exit_codes_are_those_of_a_shell(state, code, expected):
  line = RUNNING.replace('RUNNING', state).replace('0:0', code)
  job = slurm_jobs._job(line)
  assert (job.name, job.has_ended, job.code) == ('7', True, expected)


def test_waiting_ends_with_the_last_element_of_an_array(programs, tmp_path):
  array = (
    'JobId={} ArrayJobId=8 ArrayTaskId={} JobName=a JobState={} Restarts=0 ExitCode={}'
  )
  pending = array.format(8, '1-2', 'PENDING', '0:0')
  looks = [
    [array.format(9, 0, 'RUNNING', '0:0'), pending],
    [array.format(9, 0, 'FAILED', '3:0'), array.format(10, 1, 'RUNNING', '0:0')],
    [array.format(10, 1, 'COMPLETED', '0:0'), array.format(8, 2, 'COMPLETED', '0:0')],
  ]
  said = []

  def look(seconds=0):
    programs.does('scontrol', f"cat <<'X'\n{chr(10).join(looks.pop(0))}\nX\n")

  look()
  assert slurm_jobs.wait(['8'], said.append, sleep=look) == 3
  assert said[0] == 'job 8_0: running'
  assert 'job 8_0: failed, exit code 3' in said and 'job 8_2: completed' in said[-1]
