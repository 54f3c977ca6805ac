"""The code of a run at its commit, packed for machines that have none.

Only what is committed is copied: run.json then names the code that really ran.
"""

import dataclasses
import hashlib
import os
import pathlib
import shlex
import subprocess

from gpt_jax.launchers.steps import Call

CODE = pathlib.Path(__file__).parents[2]
SHOWN_FILES = 5


@dataclasses.dataclass(frozen=True)
class Checkout:
  """A clone of this code, at the commit that is checked out."""

  root: pathlib.Path
  commit: str

  def archive(self, path):
    """Returns the call that packs the commit into `path`, the same bytes each time."""
    words = ('git', '-C', str(self.root), 'archive', '--format=tar.gz')
    return Call((*words, f'--output={path}', self.commit))

  def digest(self):
    """Returns the SHA-256 of the archive, as sha256sum prints it."""
    words = [*self.archive('').words[:-2], self.commit]
    done = subprocess.run(words, capture_output=True, check=True)
    return hashlib.sha256(done.stdout).hexdigest()

  def relative(self, folder):
    """Returns the folder as a path below the root, '.' for the root itself."""
    return os.path.relpath(folder, self.root)

  def portable(self, command, folder):
    """Returns the words of a command, paths below the root relative to `folder`."""
    return tuple(self._portable(word, folder) for word in command)

  def _portable(self, word, folder):
    flag, equals, value = word.rpartition('=')
    if os.path.isabs(value) and pathlib.Path(value).is_relative_to(self.root):
      value = os.path.relpath(value, folder)
    return f'{flag}{equals}{value}'

  def problems(self, command, folder):
    """Returns why the commit is not what would run here, a line each."""
    if self.relative(folder).split(os.sep)[0] == os.pardir:
      return [
        f'{folder}: the checkout {self.root} is copied, and relative paths start in the'
        ' current folder; start this in the checkout.'
      ]
    found = []
    if changed := _git(self.root, 'diff', 'HEAD', '--name-only').splitlines():
      more = f' and {len(changed) - SHOWN_FILES} more' * (len(changed) > SHOWN_FILES)
      found.append(
        f'{", ".join(changed[:SHOWN_FILES])}{more}: changed and not committed; the code'
        f' of commit {self.commit[:12]} is what would run. git commit or git stash.'
      )
    for word in command:
      path = pathlib.Path(folder, word.rpartition('=')[2].split(':')[0])
      if path.is_file() and not self._has(path):
        found.append(
          f'{word}: not in commit {self.commit[:12]}, and would be missing there; git'
          f' add {shlex.quote(str(path))} and git commit.'
        )
    return found

  def _has(self, path):
    if not path.resolve().is_relative_to(self.root):
      return False
    name = path.resolve().relative_to(self.root)
    return bool(_git(self.root, 'ls-tree', '--name-only', self.commit, '--', str(name)))


def checkout_of(folder=None):
  """Returns the Checkout that the code in `folder` (default: this) is of, or None."""
  folder = folder or CODE
  # An environment inside somebody's repository is not code of that repository.
  if not _git(folder, 'ls-files', '--', '.'):
    return None
  root = pathlib.Path(_git(folder, 'rev-parse', '--show-toplevel').strip()).resolve()
  return Checkout(root, _git(folder, 'rev-parse', 'HEAD').strip())


def _git(folder, *words):
  """Returns what git prints; '' where there is no git or no repository."""
  try:
    done = subprocess.run(
      ['git', '-C', str(folder), *words], capture_output=True, text=True, check=False
    )
  except OSError:
    return ''
  return done.stdout if done.returncode == 0 else ''
