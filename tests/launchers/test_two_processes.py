"""A run of two processes is the run of one: trained, saved, resumed."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest

from gpt_jax.train import loop
from gpt_jax.workdir import files, lock, provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

# Two devices a process: rows are sharded over processes, width within them.
MESH = {'parallel.mesh.fsdp': 2, 'train.steps': 6}


def start(workdir, *command):
  """Starts a gpt-jax command as two processes of two devices each."""
  environment = os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=0'}
  words = [sys.executable, '-m', 'gpt_jax', 'launch', '--processes=2']
  words += ['--devices_per_process=2', '--', *command, f'--workdir={workdir}']
  pipe = subprocess.PIPE
  return subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True)


def launch(workdir, *command):
  """Returns what a command prints that `start` starts, once it has ended well."""
  process = start(workdir, *command)
  output, errors = process.communicate(timeout=300)
  assert process.returncode == 0, output + errors
  return output


def damage_a_file_of(step, process):
  """Flips a bit in the largest file that `process` wrote of the parameters."""
  data = (step / 'params' / f'ocdbt.process_{process}' / 'd').iterdir()
  path = max(data, key=lambda path: path.stat().st_size)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


@pytest.mark.slow
def test_two_processes_train_save_and_resume_as_one(text_file, tmp_path):
  overrides = MESH | tiny_runs.TEXT | {'data.path': str(text_file)}
  samples = {'logging.sample_prompts': ('some words',), 'logging.sample_tokens': 4}
  launch(tmp_path / 'two', 'train', *tiny_runs.flags(overrides | samples))
  loop.train(tiny_runs.tiny_config(overrides), tmp_path / 'one', quiet=True)

  two, one = (tiny_runs.lines(tmp_path / name) for name in ('two', 'one'))
  assert [r['step'] for r in two] == [r['step'] for r in one]
  for ours, expected in zip(two, one, strict=True):
    tiny_runs.assert_same(ours, expected, rtol=1e-5)
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(tmp_path / 'two', 3),
    tiny_runs.saved_arrays(tmp_path / 'one', 3),
    atol=1e-4,
  )
  (start,) = provenance.read_starts(Workdir(tmp_path / 'two'))
  assert (start['processes'], start['mesh']['data'], start['mesh']['fsdp']) == (2, 2, 2)
  assert Workdir(tmp_path / 'two').samples.read_text().count('## Step 6') == 1

  saved = json.loads((tmp_path / 'two' / 'eval.json').read_text())
  shown = launch(tmp_path / 'two', 'eval')
  assert shown.count('validation at step 6') == 1  # by one of them
  scored = json.loads((tmp_path / 'two' / 'eval.json').read_text())
  assert scored['validation'] == pytest.approx(saved['validation'], rel=1e-6)

  # One process resumes what two have saved, and two what one has saved.
  longer = overrides | {'train.steps': 8}
  damage_a_file_of(tmp_path / 'two' / 'checkpoints' / '6', process=1)
  damage_a_file_of(tmp_path / 'one' / 'checkpoints' / '6', process=0)
  loop.train(tiny_runs.tiny_config(longer), tmp_path / 'two', quiet=True)
  launch(tmp_path / 'one', 'train', *tiny_runs.flags(longer))
  for run in ('one', 'two'):  # both of two processes went back to the same step
    assert (tmp_path / run / 'checkpoints' / '6.damaged').is_dir()
    assert tiny_runs.start_steps(tmp_path / run) == [0, 3]
  ours, expected = (tiny_runs.losses(tmp_path / name) for name in ('two', 'one'))
  assert list(ours) == list(expected) == [1, 2, 3, 4, 5, 6, 7, 8]
  tiny_runs.assert_same(ours, expected, rtol=1e-4)


@pytest.mark.slow
def test_both_processes_stop_when_another_has_their_lock(tmp_path):
  workdir = Workdir(tmp_path / 'run')
  fields = {'train.steps': 1_000_000, 'eval.every_steps': 0}
  with start(workdir, 'train', *tiny_runs.flags(fields)) as process:
    try:
      deadline = time.monotonic() + 120
      while not (workdir.metrics.exists() and workdir.metrics.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.1)
      other = dataclasses.replace(lock.owner(workdir.path), host='n2', token='other')
      text = json.dumps(dataclasses.asdict(other))
      files.write_text(workdir.path / lock.FILE, text)
      _, errors = process.communicate(timeout=60)  # jax alone would wait for minutes
    finally:
      process.terminate()
  assert process.returncode == 5
  assert 'on n2, which started at' in errors and 'has taken' in errors
  assert lock.owner(workdir.path) == other
