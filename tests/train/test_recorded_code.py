"""Which code a run is trained again with: here, checked out, or none: a way out."""

import subprocess

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.train import recorded_code, run_diff
from gpt_jax.workdir import provenance
from tests.train.test_run_diff import start, write_run


def git(folder, *arguments):
  command = ['git', '-C', folder, '-c', 'user.name=A', '-c', 'user.email=a@b.c']
  subprocess.run([*command, *arguments], check=True, capture_output=True)


@pytest.fixture
def package(tmp_path, monkeypatch):
  """Returns the folder of a package in a repository, taken for the one that runs."""
  folder = tmp_path / 'root' / 'gpt_jax'
  folder.mkdir(parents=True)
  (folder / 'a.py').write_text('one\n')
  git(folder.parent, 'init', '-q')
  git(folder.parent, 'add', '.')
  git(folder.parent, 'commit', '-q', '-m', 'first')
  monkeypatch.setattr(provenance, 'CODE', folder)
  return folder


def run_of(tmp_path, state):
  return run_diff.read(write_run(tmp_path / 'run', [3.0], [start(git=state)]))


def test_the_same_code_is_run_where_it_stands(package, tmp_path):
  (package / 'a.py').write_text('two\n')
  (package / 'new.py').write_text('more\n')
  run = run_of(tmp_path, provenance.git_state(package))
  with recorded_code.choose(run, {}) as code:
    assert code.root == package.parent
    assert code.notes == ['gpt_jax/new.py was not in git: it is read as it is now']


def test_other_code_is_checked_out_with_its_changes(package, tmp_path):
  (package / 'a.py').write_text('two\n')
  run = run_of(tmp_path, provenance.git_state(package))
  (package / 'a.py').write_text('three\n')
  with recorded_code.choose(run, {}) as code:
    assert code.root != package.parent
    assert (code.root / 'gpt_jax' / 'a.py').read_text() == 'two\n'
    assert 'with its uncommitted changes (gpt_jax/a.py)' in code.description
  with recorded_code.choose(run, {}, 'here') as code:
    assert (code.root / 'gpt_jax' / 'a.py').read_text() == 'three\n'
    assert 'this is' in code.notes[0]


def test_a_plug_in_that_git_did_not_have_is_noted(package, tmp_path):
  state = provenance.git_state(package) | {'untracked': ['mine/idea.py', 'other.py']}
  config = {'optimizer': {'name': 'mine.idea:make'}, 'data': {'path': '/a:b'}}
  with recorded_code.choose(run_of(tmp_path, state), config) as code:
    assert code.notes == ['mine/idea.py was not in git: it is read as it is now']


@pytest.mark.parametrize(
  'changes, expected',
  [
    (None, 'has recorded no commit'),
    ({'commit': '0' * 40}, 'git fetch --all'),
    ({'patch': 'x' * (provenance.MAX_PATCH_CHARS + 1)}, 'too long to be recorded'),
    ({'commit': '0' * 40, 'untracked': ['gpt_jax/n.py']}, 'of gpt_jax/n.py'),
  ],
)
def test_code_that_cannot_be_had_is_refused(changes, expected, package, tmp_path):
  state = None if changes is None else provenance.git_state(package) | changes
  run = run_of(tmp_path, state)
  with pytest.raises(ConfigError, match=expected) as error:
    recorded_code.choose(run, {})
  assert '--commit=here' in str(error.value)
  with recorded_code.choose(run, {}, 'here') as code:
    assert code.root == package.parent


def test_an_installed_package_has_nothing_to_check_out(package, tmp_path, monkeypatch):
  run = run_of(tmp_path, provenance.git_state(package))
  monkeypatch.setattr(provenance, 'CODE', tmp_path)
  with pytest.raises(ConfigError, match='in no git repository'):
    recorded_code.choose(run, {})
