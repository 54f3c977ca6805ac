"""What a launcher does, as a list: shown by --dry_run, executed without it.

Both read the same steps, so that what is shown is what happens.
"""

import dataclasses
import pathlib
import shlex
import shutil
import subprocess

from gpt_jax.core.errors import UserError

END = 'END_OF_INPUT'


@dataclasses.dataclass(frozen=True)
class Write:
  """A file to be written, in a folder that is made where it is missing."""

  path: str
  text: str

  def __str__(self):
    folder = shlex.quote(str(pathlib.Path(self.path).parent))
    return f'mkdir -p {folder}\n' + _with_input(
      f'cat > {shlex.quote(self.path)}', self.text
    )


@dataclasses.dataclass(frozen=True)
class Call:
  """A program to be called, with a text on its standard input."""

  words: tuple[str, ...]
  stdin: str = ''

  def __str__(self):
    line = shlex.join(self.words)
    return _with_input(line, self.stdin) if self.stdin else line


def quoted(text):
  """Returns `text` as a word of a shell."""
  return shlex.quote(str(text))


def shown(steps):
  """Returns the steps as a text that a shell can execute."""
  return '\n'.join(str(step) for step in steps)


def take(step):
  """Takes a step; returns what a called program has printed, without its last newline.

  Raises UserError with the program's own message where it fails.
  """
  if isinstance(step, Write):
    path = pathlib.Path(step.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(step.text)
    return ''
  done = subprocess.run(
    step.words, input=step.stdin, capture_output=True, text=True, check=False
  )
  if done.returncode:
    said = (done.stderr or done.stdout).strip()
    raise UserError(
      f'{step.words[0]} ended with exit code {done.returncode}: {said}\nThe command'
      f' was: {shlex.join(step.words)}'
    )
  return done.stdout.rstrip('\n')


def missing_programs(programs, where, way_out):
  """Returns one problem, in a list, for all programs that are not on the PATH.

  Args:
    way_out: how to get them, such as 'apt install slurm-client'.
  """
  missing = [program for program in programs if not shutil.which(program)]
  if not missing:
    return []
  return [f'--where={where}: no {", ".join(missing)} on this machine; {way_out}.']


def _with_input(line, text):
  newline = '' if text.endswith('\n') else '\n'
  return f"{line} <<'{END}'\n{text}{newline}{END}"
