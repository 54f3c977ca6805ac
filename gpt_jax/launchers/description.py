"""What is to be run, the same for every place: one gpt-jax command on some hosts.

`commands/launch_flags.py` makes one of a command line; each place of PLACES turns it
into what it starts there. A sweep is a description with `tasks`.
"""

import argparse
import dataclasses
import os
import re
import shlex
from collections.abc import Mapping

NAME = re.compile(r'[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?')
VARIABLE = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')


@dataclasses.dataclass(frozen=True)
class Task:
  """One run of several that are described together, such as a point of a sweep."""

  name: str
  words: tuple[str, ...]  # added to the command
  needs: tuple[str, ...] = ()  # names of tasks that have to end before


@dataclasses.dataclass(frozen=True)
class Description:
  """A command, where it writes, and how many hosts run it."""

  command: tuple[str, ...]  # what stands after gpt-jax
  name: str  # of the job; each place says which names it can take
  workdir: str | None = None  # of the command; a folder or a URL; of a sweep its root
  nodes: int = 1  # hosts of a task; of a TPU slice each
  topology: str = ''  # of accelerators, under the name that the place has for it
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  commit: str = ''  # of the code, where it is copied; '' for what is installed
  folder: str = ''  # where the command runs: relative paths start there
  tasks: tuple[Task, ...] = ()  # those of a sweep; () for the command alone
  at_once: int = 0  # of the tasks; 0: as many as the place can start

  def of(self, task):
    """Returns the Description of one task alone."""
    return dataclasses.replace(
      self,
      command=(*self.command, *task.words),
      name=f'{self.name}-{task.name}',
      tasks=(),
      at_once=0,
    )

  def waves(self):
    """Returns the tasks in tuples: those of one need none of their own or a later."""
    waves, ended = [], set()
    left = list(self.tasks)
    while left:
      wave = tuple(task for task in left if ended.issuperset(task.needs))
      assert wave, f'tasks that wait for each other: {[task.name for task in left]}'
      waves.append(wave)
      ended.update(task.name for task in wave)
      left = [task for task in left if task.name not in ended]
    return waves

  def shell_command(self, program='gpt-jax'):
    """Returns the command as a line for a shell."""
    return f'{program} {shlex.join(self.command)}'


def flag_of(command, flag):
  """Returns the text after `flag` in the words of a command, or None."""
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  parser.add_argument(flag, dest='value')
  return parser.parse_known_args(list(command))[0].value


def workdir_of(command):
  """Returns the text after --workdir in `command`, or None."""
  return flag_of(command, '--workdir')


def name_of(command):
  """Returns a name for the job of `command`: that of its workdir, or its first word."""
  last = os.path.basename(os.path.normpath(workdir_of(command) or ''))
  words = re.sub(r'[^A-Za-z0-9_.-]+', '-', last).strip('-._')
  return words or command[0]


def environment_of(settings):
  """Returns ({NAME: value}, problems) of settings such as `NAME=value`."""
  found, problems = {}, []
  for setting in settings:
    name, equals, value = setting.partition('=')
    if not equals and name in os.environ:
      value = os.environ[name]
    elif not equals or not VARIABLE.fullmatch(name):
      problems.append(
        f'--env={setting}: expected NAME=VALUE, or the NAME of a variable that is set'
        ' here'
      )
    found[name] = value
  return found, problems


class BadNumber(int):
  """0, in place of a flag's text that is no whole number above 0."""

  text: str

  def __new__(cls, text):
    number = super().__new__(cls, 0)
    number.text = text
    return number


def number_above_0(text):
  """Returns a flag's whole number, or a BadNumber.

  argparse would tell one mistake alone: `number_problems` tells those of all flags.
  """
  is_good = text.isdecimal() and int(text) > 0
  return int(text) if is_good else BadNumber(text)


def number_problems(args):
  """Returns a problem for each parsed flag that is a BadNumber."""
  return [
    f'--{name}={value.text}: expected a whole number above 0, got {value.text}.'
    for name, value in vars(args).items()
    if isinstance(value, BadNumber)
  ]
