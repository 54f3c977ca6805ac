"""Copies in scratch: the oldest go first, none that a living process uses."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from gpt_jax.commands import diagnostics
from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.storage import scratch, scratch_space

KB = 1024


@pytest.fixture
def files(tmp_path, monkeypatch):
  """Returns the folder of copies: a, b and c of 100 KB, used in this order."""
  monkeypatch.setenv('GPT_JAX_SCRATCH', str(tmp_path))
  monkeypatch.setenv('GPT_JAX_SCRATCH_GB', str(350 * KB / 1e9))
  folder = scratch.folder('files')
  for time, name in enumerate('abc', start=1):
    (folder / name).mkdir(parents=True)
    (folder / name / 'x').write_bytes(bytes(100 * KB))
    os.utime(folder / name, (time, time))
  return folder


def left(folder):
  return sorted(path.name for path in folder.iterdir())


def test_what_was_used_least_lately_goes_first(files):
  scratch_space.reserve(40 * KB, 'x')
  assert left(files) == ['a', 'b', 'c']
  scratch_space.reserve(100 * KB, 'x')
  assert left(files) == ['b', 'c']


def test_what_was_used_again_stays_and_is_in_use(files, capsys):
  scratch_space.claim([files / 'a'])
  scratch_space.reserve(200 * KB, 'x')
  assert left(files) == ['a']
  scratch_space.reserve(500 * KB, 'x')
  assert left(files) == ['a']
  assert 'all of it in use' in capsys.readouterr().err


def test_a_copy_stays_until_the_process_that_uses_it_ends(files):
  program = (
    'import sys; from gpt_jax.storage import scratch, scratch_space as s;'
    's.claim([scratch.folder("files") / "a"]); print("claimed", flush=True);'
    'sys.stdin.read()'
  )
  pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
  with subprocess.Popen([sys.executable, '-c', program], **pipes) as process:
    assert process.stdout.readline() == b'claimed\n'
    scratch_space.reserve(500 * KB, 'x')
    assert left(files) == ['a']
    process.send_signal(signal.SIGKILL)
  scratch_space.reserve(500 * KB, 'x')
  assert left(files) == []


def test_doctor_tells_how_much_there_is(files, monkeypatch):
  (found,) = diagnostics._copies()
  assert found.detail.startswith(f'{files.parent}: 0.00 GB of at most 0.000358')
  assert scratch_space.taken_bytes() == 300 * KB
  monkeypatch.setenv('GPT_JAX_SCRATCH_GB', 'x')
  (found,) = diagnostics._copies()
  assert found.status == diagnostics.FAIL and 'GPT_JAX_SCRATCH_GB' in found.fix


def test_what_a_killed_process_left_unfinished_goes(files):
  (files / 'd.123.tmp').mkdir()
  scratch_space.reserve(1, 'x')
  assert left(files) == ['a', 'b', 'c']


def test_a_full_disk_is_told_before_anything_is_copied(files, monkeypatch):
  usage = shutil._ntuple_diskusage(9, 5, 4)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
  with pytest.raises(StorageError, match='gs://b/x: .* set GPT_JAX_SCRATCH to a'):
    scratch_space.reserve(1_000, 'gs://b/x')


@pytest.mark.parametrize('text', ['much', '-1', 'nan'])
def test_a_limit_that_is_no_number_is_told(text, monkeypatch):
  monkeypatch.setenv('GPT_JAX_SCRATCH_GB', text)
  with pytest.raises(ConfigError, match=f"GPT_JAX_SCRATCH_GB='{text}': expected"):
    scratch_space.limit_bytes()
