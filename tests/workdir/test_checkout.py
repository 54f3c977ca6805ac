"""The code of a run from git: what a patch changes, a commit in a folder of its own."""

import subprocess

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.workdir import checkout, provenance


def git(folder, *arguments):
  command = ['git', '-C', folder, '-c', 'user.name=A', '-c', 'user.email=a@b.c']
  return subprocess.run(
    [*command, *arguments], check=True, capture_output=True, text=True
  ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
  """Returns (root, the first of two commits, the second): a.py is one, then two."""
  root = tmp_path / 'root'
  root.mkdir()
  git(root, 'init', '-q')
  commits = []
  for text in ('one\n', 'two\n'):
    (root / 'a.py').write_text(text)
    git(root, 'add', '.')
    git(root, 'commit', '-q', '-m', text)
    commits.append(git(root, 'rev-parse', 'HEAD'))
  return root, *commits


def test_a_commit_is_checked_out_apart_and_removed(repository):
  root, first, _ = repository
  with checkout.worktree(root, first) as folder:
    assert (folder / 'a.py').read_text() == 'one\n'
    assert (root / 'a.py').read_text() == 'two\n'
  assert not folder.exists()
  assert len(git(root, 'worktree', 'list').splitlines()) == 1


def test_recorded_changes_come_back_with_their_commit(repository):
  root, _, second = repository
  (root / 'a.py').write_text('three\nlines\n')
  patch = provenance.git_state(root)['patch']
  git(root, 'checkout', '-q', '.')
  with checkout.worktree(root, second, patch) as folder:
    assert (folder / 'a.py').read_text() == 'three\nlines\n'
  with pytest.raises(ConfigError, match='does not apply'):
    with checkout.worktree(root, second, patch.replace('-two', '-six')):
      pass
  assert len(git(root, 'worktree', 'list').splitlines()) == 1


def test_the_distance_of_commits_is_known_where_both_are(repository):
  root, first, second = repository
  assert checkout.root_of(root) == root
  assert checkout.root_of(root.parent) is None
  assert checkout.commits_between(root, first, second) == (0, 1)
  patch = checkout.patch_between(root, first, second)
  assert checkout.changed_lines(patch) == {'a.py': (1, 1)}
  assert not checkout.has_commit(root, '0' * 40)
  assert checkout.commits_between(root, first, '0' * 40) is None
  assert checkout.patch_between(root, '0' * 40, second) is None


def test_lines_of_a_patch_are_counted_by_file():
  patch = (
    'diff --git a/x/a.py b/x/a.py\n--- a/x/a.py\n+++ b/x/a.py\n@@ -1,2 +1,3 @@\n'
    '-old\n+new\n+more\n same\ndiff --git a/b.bin b/b.bin\nBinary files differ\n'
  )
  assert checkout.changed_lines(patch) == {'x/a.py': (2, 1), 'b.bin': (0, 0)}
  assert checkout.changed_lines('') == {}
