"""What a cluster has and allows, read from answers of the real programs."""

import pytest

from gpt_jax.core.errors import UserError
from gpt_jax.launchers import slurm_limits
from gpt_jax.launchers.description import Description, Task
from tests.launchers import fake_slurm


@pytest.fixture
def programs(tmp_path, monkeypatch):
  return fake_slurm.Programs(tmp_path, monkeypatch)


def problems(num_tasks=0, *words, nodes=1):
  tasks = tuple(Task(str(n), ()) for n in range(num_tasks))
  run = Description(('sweep', 'x.py'), 'x', nodes=nodes, tasks=tasks)
  return slurm_limits.problems(run, fake_slurm.flags(*words))


def test_partitions_and_their_nodes_are_known(programs):
  programs.does('sinfo', 'printf "debug|1|debug*\\ndebug|1|debug*\\ngpu|8|gpu\\n"')
  assert problems(nodes=2) == problems(0, '--partition=gpu', nodes=8) == []
  (found,) = problems(0, '--partition=debgu')
  assert "one of debug, gpu; did you mean 'debug'" in found
  assert problems(nodes=3) == ['--nodes=3: the partition debug has 2 nodes.']


def test_without_a_controller_its_message_is_told(programs):
  programs.does('sinfo', 'echo "Unable to contact slurm controller" >&2; exit 1')
  with pytest.raises(UserError, match='Unable to contact slurm controller'):
    problems()


def test_the_size_of_an_array_is_that_of_the_controller(programs):
  assert slurm_limits.array_size() == slurm_limits.DEFAULT_ARRAY  # says nothing of it
  programs.does('scontrol', "echo 'MaxArraySize            = 4'")
  assert slurm_limits.array_size() == 4


def test_more_tasks_than_the_queue_takes_are_refused(programs):
  config = "printf 'MaxArraySize = 0\\nMaxJobCount             = 5\\n'"
  programs.does('scontrol', config)
  programs.does('sacctmgr', "printf 'me|3\\nme|4\\n'")
  no_arrays, count, submit = problems(6)
  assert 'no arrays (MaxArraySize=0' in no_arrays
  assert '6 tasks: MaxJobCount of slurm.conf=5' in count and '--only=NAME' in count
  assert '6 tasks: MaxSubmitJobs of this user=4' in submit
  programs.does('scontrol', '')
  programs.does('sacctmgr', "printf 'me|3\\nme|\\n'")  # one association has no limit
  assert problems(6) == []
