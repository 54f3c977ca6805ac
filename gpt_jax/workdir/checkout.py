"""The code of a run, by what `provenance.git_state` has recorded of it."""

import contextlib
import pathlib
import re
import subprocess
import tempfile

from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.workdir.provenance import git


def changed_lines(patch):
  """Returns `{file: (added, removed)}` lines of a unified diff of git."""
  found, name = {}, ''
  for line in patch.splitlines():
    if header := re.match(r'diff --git "?a/(.*?)"? "?b/(.*?)"?$', line):
      name = header[2]
      found[name] = (0, 0)
    elif name and line.startswith(('+', '-')) and not re.match(r'\+\+\+ |--- ', line):
      added, removed = found[name]
      found[name] = (added + line.startswith('+'), removed + line.startswith('-'))
  return found


def root_of(folder):
  """Returns the root of the repository that tracks `folder`, or None."""
  if not git(folder, 'ls-files', '--', '.'):
    return None
  return pathlib.Path(git(folder, 'rev-parse', '--show-toplevel').strip())


def has_commit(root, commit):
  """Returns whether the repository at `root` holds `commit`."""
  return bool(
    commit and git(root, 'rev-parse', '-q', '--verify', f'{commit}^{{commit}}')
  )


def patch_between(root, first, second):
  """Returns the diff from commit `first` to `second`; None where one is not there."""
  if not (has_commit(root, first) and has_commit(root, second)):
    return None
  return git(root, 'diff', first, second, '--no-color', '--no-ext-diff')


def commits_between(root, first, second):
  """Returns how many commits only `first` and only `second` have; None: unknown."""
  if not (has_commit(root, first) and has_commit(root, second)):
    return None
  counts = git(root, 'rev-list', '--left-right', '--count', f'{first}...{second}')
  only_first, only_second = map(int, counts.split())
  return only_first, only_second


@contextlib.contextmanager
def worktree(root, commit, patch=''):
  """Gives a temporary folder with `commit` checked out and `patch` applied.

  It is a worktree of the repository at `root`, whose own files stay as they are.
  """
  with tempfile.TemporaryDirectory(prefix='gpt_jax_code_') as scratch:
    folder = pathlib.Path(scratch) / 'code'
    _require(['git', '-C', str(root), 'worktree', 'prune'])  # of killed processes
    _require(
      ['git', '-C', str(root), 'worktree', 'add', '-q', '--detach', str(folder), commit]
    )
    try:
      if patch:
        apply = ['git', '-C', str(folder), 'apply', '--whitespace=nowarn', '-']
        _require(apply, patch, 'the recorded patch does not apply')
      yield folder
    finally:
      git(root, 'worktree', 'remove', '--force', str(folder))


def _require(command, text='', problem='git failed'):
  try:
    subprocess.run(
      command, input=text, capture_output=True, text=True, check=True, timeout=300
    )
  except subprocess.CalledProcessError as error:
    raise ConfigError(f'{problem}: {error.stderr.strip()}') from error
  except (OSError, subprocess.TimeoutExpired) as error:
    raise StorageError(f'{" ".join(command)}: {error}') from error
