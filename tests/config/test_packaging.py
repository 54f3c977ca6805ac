"""A wheel works without the clone: it holds the shipped configs, found by name."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

import gpt_jax
from gpt_jax import configs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """Returns the folder of what setup.py puts into a wheel."""
  folder = tmp_path_factory.mktemp('build')
  command = [sys.executable, 'setup.py', '-q', 'build', f'--build-base={folder}']
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return folder / 'lib'


def run(built, code, folder):
  """Returns what Python prints that runs `code` in `folder`, on the built package."""
  environment = os.environ | {'PYTHONPATH': str(built)}
  # An editable install puts the clone on the path.
  leave = f'import sys; sys.path = [p for p in sys.path if p != {str(ROOT)!r}]\n'
  command = [sys.executable, '-c', leave + code]
  done = subprocess.run(
    command, cwd=folder, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.split()


def test_a_wheel_holds_every_shipped_config(built):
  files = {path.stem for path in (built / 'gpt_jax' / 'configs').glob('*.py')}
  assert files == {*configs.names(), '__init__'}
  assert {path.name for path in built.iterdir()} == {'gpt_jax'}


def test_an_installed_package_finds_configs_by_name(built, tmp_path):
  mine = tmp_path / 'mine.py'
  mine.write_text('from gpt_jax.configs.tiny import get_config\n')
  code = (
    'from gpt_jax import config, configs\n'
    'from gpt_jax.config.files import load_file\n'
    'print(configs.FOLDER)\n'
    'for name in ("tiny", "gpt2:355m", "configs/tiny.py", "mine.py"):\n'
    '  print(load_file(name).model.num_layers)\n'
  )
  folder, *layers = run(built, code, tmp_path)
  assert folder == str(built / 'gpt_jax' / 'configs')
  assert layers == ['4', '24', '4', '4']


def test_importing_configs_the_old_way_says_the_new(built, tmp_path):
  (tmp_path / 'mine.py').write_text('from configs import tiny\n')
  code = (
    'from gpt_jax.config.files import load_file\n'
    'try:\n'
    '  load_file("mine.py")\n'
    'except ValueError as error:\n'
    '  print(error)\n'
  )
  text = ' '.join(run(built, code, tmp_path))
  assert "No module named 'configs'; shipped configs are imported by `from" in text
  assert text.endswith('(line 1)')


def test_the_version_has_one_source():
  command = [sys.executable, 'setup.py', '--version']
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.split()[-1] == gpt_jax.__version__


def test_a_clone_is_imported_from_the_folder_above_it(tmp_path):
  """There the clone itself, a folder of that name, is on the path first."""
  needed = 'setuptools.command.bdist_wheel'
  pytest.importorskip(needed, reason='needs setuptools 70.1 or newer')
  code = (
    f'from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})'
  )
  command = [sys.executable, '-c', code]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  (wheel,) = tmp_path.glob('*.whl')
  installed, above = tmp_path / 'site', tmp_path / 'above'
  zipfile.ZipFile(wheel).extractall(installed)
  above.mkdir()
  (above / 'gpt_jax').symlink_to(ROOT)
  code = f'import site; site.addsitedir({str(installed)!r}); import gpt_jax; '
  command = [sys.executable, '-S', '-c', code + 'print(gpt_jax.__version__)']
  environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
  done = subprocess.run(
    command, cwd=above, env=environment, capture_output=True, text=True
  )
  assert done.stdout.split() == [gpt_jax.__version__], done.stderr
