"""SIGTERM and Ctrl-C lose nothing: a step is finished, saved, and resumed from."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import Interrupted
from gpt_jax.program import setup
from gpt_jax.tracking import metrics_file
from gpt_jax.train import loop, preemption
from gpt_jax.train.save import Saver
from gpt_jax.workdir import lock
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

PAUSING = """
import os, sys, time
sys.path.insert(0, {tests!r})
import pytest
from tests import conftest, tiny_runs
from gpt_jax import cli

def pause(session, progress):
  (session.workdir.path / 'reached').touch()
  time.sleep(1)

tiny_runs.after_step(pytest.MonkeyPatch(), 4, pause)
sys.exit(cli.main(sys.argv[1:]))
"""
TWICE = """
import os, signal, time
from gpt_jax.train import preemption

with preemption.Watch() as watch:
  watch.begin()
  os.kill(os.getpid(), signal.SIGINT)
  while not watch.must_stop():
    time.sleep(0.01)
  os.kill(os.getpid(), signal.SIGTERM)  # a second SIGTERM would change nothing
  time.sleep(0.2)
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(60)
"""


TWICE_OF_SEVERAL = """
import os, signal, socket, time
import jax
from gpt_jax.train import preemption

with socket.socket() as free:
  free.bind(('localhost', 0))
  port = free.getsockname()[1]
jax.distributed.initialize(f'localhost:{port}', 1, 0)
with preemption.Watch() as watch:
  watch.begin()
  for _ in range(2):  # busy with something long, which asks nobody
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)
  time.sleep(60)
"""


LEAVING = """
import os, signal
from gpt_jax.commands import train_command

with train_command.exit_on_signals():
  try:
    os.kill(os.getpid(), signal.SIGTERM)
  except BaseException:
    pass  # as some imports do
"""
SETTLED = """
import os, signal, sys
from gpt_jax import cli

sys.argv = ['gpt-jax', 'train', '--no-such-flag']
code = cli.main()
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGINT)
sys.exit(code)
"""


def environment():
  return os.environ | {'PYTHONPATH': str(tiny_runs.ROOT)}


def wait_for(is_so, process, seconds=240):
  deadline = time.monotonic() + seconds
  while not is_so():
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.05)


@pytest.mark.slow
def test_a_run_stopped_by_sigterm_resumes_bit_equal(tmp_path):
  config = tiny_runs.tiny_config({'checkpoint.every_steps': 0, 'model.dropout': 0.1})
  loop.train(config, tmp_path / 'uninterrupted', quiet=True)
  script = tmp_path / 'pausing.py'
  script.write_text(PAUSING.format(tests=str(tiny_runs.ROOT)))
  flags = tiny_runs.flags({'checkpoint.every_steps': 0, 'model.dropout': 0.1})
  command = [
    sys.executable,
    script,
    'train',
    *flags,
    f'--workdir={tmp_path / "resumed"}',
  ]
  with subprocess.Popen(
    command, env=environment(), stderr=subprocess.PIPE, text=True
  ) as process:
    wait_for((tmp_path / 'resumed' / 'reached').exists, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
  assert process.returncode == 75, errors
  assert 'SIGTERM: step 5 of 6 is done and saved in' in errors
  assert 'Traceback' not in errors and 'error' not in errors
  with CheckpointReader(tmp_path / 'resumed' / 'checkpoints') as store:
    assert store.steps() == [5]
  loop.train(config, tmp_path / 'resumed', quiet=True)
  assert tiny_runs.lines(tmp_path / 'resumed') == tiny_runs.lines(
    tmp_path / 'uninterrupted'
  )
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(tmp_path / 'resumed', 6),
    tiny_runs.saved_arrays(tmp_path / 'uninterrupted', 6),
  )


def test_ctrl_c_stops_a_run_like_sigterm(tmp_path, monkeypatch, capsys):
  before = signal.getsignal(signal.SIGINT)  # in a background job it is ignored

  def interrupt(session, progress):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)

  tiny_runs.after_step(monkeypatch, 4, interrupt)
  with pytest.raises(Interrupted, match='SIGINT: step 5 of 6 is done and saved'):
    loop.train(
      tiny_runs.tiny_config(),
      tmp_path,
      quiet=True,
      open_program=tiny_runs.open_shared,
    )
  assert capsys.readouterr().err.count('SIGINT: this step is finished') == 1
  with CheckpointReader(tmp_path / 'checkpoints') as store:
    assert store.steps() == [3, 5]
  assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize('script', [TWICE, TWICE_OF_SEVERAL])
def test_a_second_ctrl_c_ends_at_once(script):
  done = subprocess.run(
    [sys.executable, '-c', script], env=environment(), capture_output=True, text=True
  )
  assert done.returncode == preemption.INTERRUPTED == 130
  assert 'second Ctrl-C: ended at once' in done.stderr


def test_a_signal_before_the_first_step_leaves_no_lock(tmp_path, monkeypatch):
  def interrupted(*_):
    try:
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(60)
    except KeyboardInterrupt:
      raise RuntimeError('what a library made of it') from None

  monkeypatch.setattr(setup, 'open_tokenizer', interrupted)
  with pytest.raises(Interrupted, match='SIGTERM: stopped before the first step'):
    loop.train(tiny_runs.tiny_config(), tmp_path, quiet=True)
  assert not (tmp_path / lock.FILE).exists()
  assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_during_the_last_save_does_not_abort_it(tmp_path, monkeypatch):
  usual = Saver.save_and_wait

  def commit(*args):
    os.kill(os.getpid(), signal.SIGTERM)
    usual(*args)

  monkeypatch.setattr(Saver, 'save_and_wait', commit)
  loop.train(
    tiny_runs.tiny_config({'train.steps': 2, 'eval.every_steps': 0, 'eval.sets': {}}),
    tmp_path,
    quiet=True,
  )
  with CheckpointReader(tmp_path / 'checkpoints') as store:
    assert store.steps() == [2]


@pytest.mark.parametrize(('program', 'code'), [(LEAVING, 75), (SETTLED, 2)])
def test_outside_the_steps_a_signal_costs_no_exit_code(program, code):
  done = subprocess.run(
    [sys.executable, '-c', program], env=environment(), capture_output=True, text=True
  )
  assert done.returncode == code, done.stderr
  assert 'Traceback' not in done.stderr


def test_signal_handlers_are_restored_and_need_the_main_thread():
  former = signal.getsignal(signal.SIGTERM)
  with preemption.Watch() as watch:
    assert signal.getsignal(signal.SIGTERM) is not former
    assert not watch.must_stop()
    watch.begin()
    os.kill(os.getpid(), signal.SIGTERM)  # raises nothing any more
  assert watch.signal == 'SIGTERM'
  assert signal.getsignal(signal.SIGTERM) is former

  def elsewhere():
    with preemption.Watch() as watch:
      seen.append(watch.must_stop())

  seen = []
  thread = threading.Thread(target=elsewhere)
  thread.start()
  thread.join()
  assert seen == [False]


def launch(workdir, steps):
  """Returns `gpt-jax train` as two processes of two devices each, started."""
  overrides = {
    'train.steps': steps, 'checkpoint.every_steps': 0, 'eval.every_steps': 0,
    'parallel.mesh.fsdp': 2, 'checkpoint.keep_best': 0,
  }  # fmt: skip
  command = [sys.executable, '-m', 'gpt_jax', 'launch', '--processes=2']
  command += ['--devices_per_process=2', '--']
  command += ['train', *tiny_runs.flags(overrides), f'--workdir={workdir}']
  settings = {'XLA_FLAGS': '--xla_backend_optimization_level=0'}
  return subprocess.Popen(command, env=os.environ | settings)


@pytest.mark.slow
def test_two_processes_stop_at_one_step_and_resume_bit_equal(tmp_path):
  metrics = Workdir(tmp_path / 'resumed').metrics
  with launch(tmp_path / 'resumed', 5000) as group:
    wait_for(
      lambda: metrics.exists() and len(tiny_runs.lines(metrics.parent)) > 3, group
    )
    group.send_signal(signal.SIGTERM)
    assert group.wait(timeout=120) == 75
  with CheckpointReader(tmp_path / 'resumed' / 'checkpoints') as store:
    (step,) = store.steps()
  assert 3 < step < 5000
  assert metrics_file.read_lines(metrics)[-1]['step'] == step
  for name in ('resumed', 'uninterrupted'):
    with launch(tmp_path / name, step + 3) as group:
      assert group.wait(timeout=300) == 0
  assert tiny_runs.losses(tmp_path / 'resumed') == tiny_runs.losses(
    tmp_path / 'uninterrupted'
  )
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(tmp_path / 'resumed', step + 3),
    tiny_runs.saved_arrays(tmp_path / 'uninterrupted', step + 3),
  )
