"""Where the starts of a run came from, and the state of its code."""

import datetime
import json
import os
import subprocess

import pytest

from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def test_every_start_of_a_run_stays_in_its_history(tmp_path):
  run = Workdir(tmp_path).create()
  assert provenance.read_starts(run) == []
  provenance.add_start(run, {'argv': ['a']})
  provenance.add_start(run, {'argv': ['b']})
  assert [start['argv'] for start in provenance.read_starts(run)] == [['a'], ['b']]
  assert provenance.read_starts(run) == json.loads(run.run.read_text())['starts']


def test_provenance_has_command_devices_and_versions():
  record = provenance.collect(now=NOW, argv=['gpt-jax', 'train'])
  assert record == json.loads(json.dumps(record))
  assert record['time'] == '2026-01-02T03:04:05+00:00'
  assert record['argv'] == ['gpt-jax', 'train']
  assert record['devices']['count'] == 8 and record['processes'] == 1
  assert record['cores'] == os.cpu_count()
  assert all(record['versions'][name] for name in ('jax', 'flax', 'optax', 'numpy'))


def git(folder, *arguments):
  command = ['git', '-C', folder, '-c', 'user.name=A', '-c', 'user.email=a@b.c']
  subprocess.run([*command, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
  git(tmp_path, 'init', '-q')
  (tmp_path / 'code').mkdir()
  (tmp_path / 'code' / 'a.py').write_text('one\n')
  git(tmp_path, 'add', '.')
  git(tmp_path, 'commit', '-q', '-m', 'first')
  return tmp_path


def test_a_clean_tree_has_a_commit_and_no_patch(repository):
  state = provenance.git_state(repository / 'code')
  assert len(state['commit']) == 40
  assert (state['dirty'], state['patch'], state['untracked']) == (False, '', [])


def test_uncommitted_changes_are_kept_as_a_patch_that_applies(repository):
  code = repository / 'code' / 'a.py'
  code.write_text('two\n')
  (repository / 'new.py').write_text('new\n')
  state = provenance.git_state(repository / 'code')
  assert state['dirty'] and state['untracked'] == ['new.py']
  git(repository, 'checkout', '-q', '.')
  (repository / 'patch').write_text(state['patch'])
  git(repository, 'apply', 'patch')
  assert code.read_text() == 'two\n'


def test_code_that_a_repository_does_not_track_has_no_commit(repository):
  (repository / 'site-packages').mkdir()
  (repository / 'site-packages' / 'b.py').write_text('b\n')
  assert provenance.git_state(repository / 'site-packages') is None


def test_code_outside_any_repository_has_no_commit(tmp_path, monkeypatch):
  monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
  assert provenance.git_state(tmp_path) is None


def test_a_launcher_says_the_commit_where_no_repository_is(tmp_path, monkeypatch):
  monkeypatch.setenv('GPT_JAX_COMMIT', 'f' * 40)
  state = provenance.git_state(tmp_path)
  assert state == dict(commit='f' * 40, dirty=False, patch='', untracked=[])
