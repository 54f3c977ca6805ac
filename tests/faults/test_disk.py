"""A run survives a full disk, enforced by the kernel (RLIMIT_FSIZE, a small tmpfs)."""

import os
import resource
import subprocess
import sys

import pytest

from gpt_jax.train import hooks, loop
from tests import tiny_runs
from tests.faults import disk


@pytest.fixture
def limit():
  """Returns a function that lets no file grow beyond so many bytes."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_a_run_survives_a_full_disk_and_ends_bit_equal(
  tmp_path, monkeypatch, capsys, limit
):
  config = tiny_runs.tiny_config(
    {
      'train.steps': 16, 'checkpoint.every_steps': 2, 'checkpoint.keep_last': 1,
      'checkpoint.retry_seconds': 50 * (0.01,), 'logging.tensorboard': True,
    }
  )  # fmt: skip
  loop.train(config, tmp_path / 'reference', quiet=True)
  run_hooks = loop.default_hooks

  def with_a_full_disk(session, saver):
    def act(session, progress):
      if progress.step == 5:
        session.store.wait()
        limit(1)
      if 6 <= progress.step < 12:  # what was saved before stays
        assert session.store.steps() == [4]
      if progress.step == 12:
        limit(resource.RLIM_INFINITY)

    return [*run_hooks(session, saver), hooks.Every(1, act)]

  monkeypatch.setattr(loop, 'default_hooks', with_a_full_disk)
  loop.train(config, tmp_path / 'run')
  output = capsys.readouterr().out
  assert 'step 6 could not be saved in' in output and 'It takes up to' in output
  assert 'eval.json was not written' in output and 'saving works again' in output
  runs = [tmp_path / 'run', tmp_path / 'reference']
  assert tiny_runs.lines(runs[0]) == tiny_runs.lines(runs[1])
  tiny_runs.assert_same(*(tiny_runs.saved_arrays(run) for run in runs))
  assert [path.name for path in (runs[0] / 'checkpoints').iterdir()] == ['16']
  sizes = [
    sum(path.stat().st_size for path in (run / 'tensorboard').iterdir()) for run in runs
  ]
  assert sizes[0] == sizes[1]  # nothing is missing there either


ON_A_FULL_DISK = """
import os, pathlib, subprocess, sys
from gpt_jax.tracking import append_file
from gpt_jax.workdir import files
from gpt_jax.core.errors import StorageError

folder = pathlib.Path(sys.argv[1])
mount = ['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', str(folder)]
subprocess.run(mount, check=True)
files.write_text(folder / 'config.json', 'old')
file = append_file.Appender(folder / 'lines')
file.append(b'one ')
with open(folder / 'filler', 'wb', buffering=0) as filler:
  try:
    while filler.write(bytes(4096)):
      pass
  except OSError:
    pass
file.append(5000 * b'two ')
try:
  files.write_text(folder / 'config.json', 'new')
except StorageError as error:
  print(error)
assert (folder / 'config.json').read_text() == 'old'
assert sorted(p.name for p in folder.iterdir()) == ['config.json', 'filler', 'lines']
(folder / 'filler').unlink()
file.append(b'three')
file.close()
assert (folder / 'lines').read_text() == 'one ' + 5000 * 'two ' + 'three'
"""


@pytest.mark.skipif(
  disk.namespace() is None, reason='needs root or user namespaces for a tmpfs'
)
def test_small_files_are_whole_and_lines_wait_on_a_full_disk(tmp_path):
  command = [*disk.namespace(), sys.executable, '-c', ON_A_FULL_DISK]
  environment = os.environ | {'PYTHONPATH': str(tiny_runs.ROOT)}
  done = subprocess.run(
    [*command, tmp_path], env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert 'No space left on device' in done.stdout
  assert 'waits in memory' in done.stderr
