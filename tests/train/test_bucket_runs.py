"""Runs in a bucket: equal to those on a disk, killed, refused, read by commands."""

import signal
import subprocess
import sys
import time

import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.core.errors import StorageError
from gpt_jax.launchers.supervise import Reached
from gpt_jax.storage import objects
from gpt_jax.storage.places import place
from gpt_jax.sweeps import pace
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.storage.buckets import both

pytestmark = pytest.mark.slow


def train_tiny(workdir, overrides=None):
  """Trains six steps with a program that other tests compile, too."""
  config, shared = tiny_runs.tiny_config(overrides), tiny_runs.open_shared
  loop.train(config, workdir, quiet=True, open_program=shared)


def test_a_run_in_a_bucket_equals_one_on_a_disk(bucket, plain_run, tmp_path):
  train_tiny(bucket[0])
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(bucket[0]), tiny_runs.saved_arrays(plain_run)
  )
  assert tiny_runs.lines(bucket[0]) == tiny_runs.lines(plain_run)
  assert not Workdir(bucket[0]).path.joinpath('lock.json').exists()
  # Copied to a disk its metrics, which lie there in parts, are the same.
  folder = tmp_path / 'copy' / 'metrics.jsonl'
  folder.mkdir(parents=True)
  for path, _ in objects.files_below(place(bucket[0]) / 'metrics.jsonl'):
    (folder / path.name).write_bytes(path.read_bytes())
  assert tiny_runs.lines(folder.parent) == tiny_runs.lines(bucket[0])


def test_one_failing_request_in_ten_changes_nothing(bucket, tmp_path):
  # Few arrays: TensorStore waits for a second and more before it asks again.
  small = tiny_runs.ONE_LAYER | {'optimizer.name': 'sgd', 'optimizer.momentum': 0.0}
  for workdir, every in ((tmp_path / 'run', 0), (bucket[0], 10)):
    bucket[1].every = every
    train_tiny(workdir, small)
  bucket[1].every = 0
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(bucket[0]), tiny_runs.saved_arrays(tmp_path / 'run')
  )
  assert tiny_runs.lines(bucket[0]) == tiny_runs.lines(tmp_path / 'run')
  assert bucket[1].failed > 30


def test_a_run_with_everything_on_is_read_by_all(bucket, text_file, capsys):
  (place(bucket[0]) / 'data' / 'words.txt').write_bytes(text_file.read_bytes())
  workdir = f'{bucket[0]}/run'
  config = tiny_runs.everything_on(f'{bucket[0]}/data/*.txt')
  assert (
    cli.main(['train', *tiny_runs.flags(config), f'--workdir={workdir}', '--debug'])
    == 0
  )
  names = set(objects.names_in(workdir))
  assert {'metrics.jsonl', 'tensorboard', 'samples.md', 'figures', 'tokenizer'} <= names
  assert (place(workdir) / 'figures' / 'loss.png').read_bytes()[1:4] == b'PNG'
  for command in (
    ['eval', '--json'],
    ['generate', '--prompt=some', '--max_new_tokens=4'],
    ['checkpoint', 'ls'],
    ['checkpoint', 'verify'],
    ['checkpoint', 'show', '--statistics'],
    ['doctor'],
  ):
    assert cli.main([*command, f'--workdir={workdir}', '--debug']) in (0, 1), command
  shown = capsys.readouterr().out
  assert 'step 6 is valid' in shown and 'all there' in shown
  assert gpt_jax.load(workdir).step == 6
  assert pace.last_logged(workdir).step == 6
  assert Reached.of(workdir) == Reached(6, 6)


# Few saves: each write of the GCS emulator costs by all objects.
NINE_STEPS = {'train.steps': 9, 'checkpoint.every_steps': 3, 'eval.every_steps': 0}


def start(workdir, said=subprocess.DEVNULL):
  """Returns the Popen of a run of NINE_STEPS; `said` is where its errors go."""
  # Tests compile with other flags: programs in this process would round otherwise.
  command = [sys.executable, '-m', 'gpt_jax', 'train', *tiny_runs.flags(NINE_STEPS)]
  return subprocess.Popen(
    [*command, f'--workdir={workdir}'],
    cwd=tiny_runs.ROOT,
    stdout=subprocess.DEVNULL,
    stderr=said,
  )


@pytest.fixture(scope='module')
def whole_run(tmp_path_factory):
  """Returns the workdir, on the disk, of such a run that nothing interrupts."""
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  assert start(workdir).wait() == 0
  return workdir


@both
def test_a_killed_run_ends_bit_equal(bucket, whole_run, tmp_path, capsys):
  killed = bucket[0]
  process, until = start(killed), time.monotonic() + 120
  while not Reached.of(killed).saved and time.monotonic() < until:
    assert process.poll() is None
    time.sleep(0.5)
  second = ['train', *tiny_runs.flags(NINE_STEPS), f'--workdir={killed}']
  assert cli.main(second) == 5
  assert f'process {process.pid} on' in capsys.readouterr().err
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  with open(tmp_path / 'said.txt', 'w') as said:
    assert start(killed, said).wait() == 0
  took_over = f'took over the lock of process {process.pid} on'
  assert took_over in (tmp_path / 'said.txt').read_text()
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(killed), tiny_runs.saved_arrays(whole_run)
  )
  assert tiny_runs.lines(killed) == tiny_runs.lines(whole_run)
  assert max(tiny_runs.start_steps(killed)) > 0


@both
@pytest.mark.parametrize(
  'refused, said', [('all', 'no valid credentials'), ('writes', 'permission denied')]
)
def test_a_start_without_permission_ends_at_once(bucket, refused, said):
  bucket[1].refused = refused
  began = time.monotonic()
  with pytest.raises(StorageError, match=said):
    loop.train(tiny_runs.tiny_config(), bucket[0], quiet=True)
  assert time.monotonic() - began < 10


@both
def test_a_start_in_no_bucket_ends_at_once(bucket):
  gone = bucket[0].replace('test-bucket', 'not-there')
  with pytest.raises(StorageError, match="no bucket 'not-there'"):
    loop.train(tiny_runs.tiny_config(), gone, quiet=True)
