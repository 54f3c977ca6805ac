"""The code at its commit: the same bytes each time, and nothing that is not in it."""

import hashlib
import io
import subprocess
import tarfile

import pytest

from gpt_jax.launchers import code_archive, steps


@pytest.fixture
def checkout(tmp_path):
  """Returns a Checkout of a repository with one file in a folder."""
  folder = tmp_path / 'clone'
  (folder / 'configs').mkdir(parents=True)
  (folder / 'configs' / 'mine.py').write_text('first\n')
  git = ['git', '-C', str(folder), '-c', 'user.name=a', '-c', 'user.email=a@b.c']
  for words in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'first']):
    subprocess.run([*git, *words], check=True)
  return code_archive.checkout_of(folder / 'configs')


def test_the_archive_is_that_of_the_commit(checkout, tmp_path):
  (checkout.root / 'configs' / 'mine.py').write_text('changed\n')
  (checkout.root / 'untracked').write_text('x')
  path = tmp_path / 'a.tar.gz'
  steps.take(checkout.archive(str(path)))
  assert checkout.digest() == hashlib.sha256(path.read_bytes()).hexdigest()
  with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as packed:
    assert [one.name for one in packed if one.isfile()] == ['configs/mine.py']
    assert packed.extractfile('configs/mine.py').read() == b'first\n'


def test_what_is_not_committed_is_told(checkout):
  command = ('train', '--config=configs/mine.py:large', '--workdir=gs://b/x')
  assert checkout.problems(command, str(checkout.root)) == []
  (checkout.root / 'configs' / 'mine.py').write_text('changed\n')
  (checkout.root / 'new.py').write_text('x')
  changed, new = checkout.problems((*command, '--config=new.py'), str(checkout.root))
  assert changed.startswith('configs/mine.py: changed and not committed')
  assert new.startswith('--config=new.py: not in commit')


def test_a_config_outside_of_the_checkout_is_told(checkout, tmp_path):
  (tmp_path / 'other.py').write_text('x')
  word = f'--config={tmp_path / "other.py"}'
  (problem,) = checkout.problems(('train', word), str(checkout.root))
  assert problem.startswith(f'{word}: not in commit')
  (problem,) = checkout.problems(('train',), str(tmp_path))
  assert 'start this in the checkout' in problem


def test_paths_of_a_command_are_those_of_the_copy(checkout):
  folder = checkout.root / 'configs'
  command = ('sweep', str(folder / 'mine.py'), f'--a={folder}/b.py:c', '--lr=3', '/d')
  expected = ('sweep', 'mine.py', '--a=b.py:c', '--lr=3', '/d')
  assert checkout.portable(command, str(folder)) == expected
  assert checkout.relative(str(folder)) == 'configs'


def test_without_a_repository_there_is_no_checkout(tmp_path):
  assert code_archive.checkout_of(tmp_path) is None
