"""A run description: read from a command, cut into tasks and waves."""

from gpt_jax.launchers import description
from gpt_jax.launchers.description import Description, Task


def test_the_workdir_is_read_from_the_command():
  found = description.workdir_of
  assert found(['train', '--workdir=gs://bucket/a']) == 'gs://bucket/a'
  assert found(['train', '--workdir', 'a', '--config=c']) == 'a'
  assert found(['train', '--config=c']) is None


def test_a_job_is_named_after_its_workdir_or_command():
  assert description.name_of(['train', '--workdir=runs/gpt2 (again)/']) == 'gpt2-again'
  assert description.name_of(['prepare', '--out=x']) == 'prepare'


def test_variables_are_given_or_taken_from_here(monkeypatch):
  monkeypatch.setenv('TOKEN_OF_A_USER', 'a=b')
  found, problems = description.environment_of(['A=1=2', 'TOKEN_OF_A_USER', '1A=2'])
  assert found['A'] == '1=2'
  assert found['TOKEN_OF_A_USER'] == 'a=b'
  assert len(problems) == 1 and '--env=1A=2: expected NAME=VALUE' in problems[0]


def test_a_task_waits_for_those_that_it_needs():
  tasks = [
    Task('c', (), ('a', 'b')),
    Task('b', ()),
    Task('d', (), ('c',)),
    Task('a', ()),
  ]
  run = Description(('sweep', 'x.py'), 'x', tasks=tuple(tasks))
  assert [[task.name for task in wave] for wave in run.waves()] == [
    ['b', 'a'], ['c'], ['d']
  ]  # fmt: skip


def test_a_task_alone_is_its_own_command_and_name():
  run = Description(
    ('sweep', 'x.py'), 'x', tasks=(Task('a', ('--only=a',)),), at_once=2
  )
  alone = run.of(run.tasks[0])
  assert (alone.command, alone.name) == (('sweep', 'x.py', '--only=a'), 'x-a')
  assert (alone.tasks, alone.at_once) == ((), 0)
