"""What a checkpoint is saved with, and saves that fail at first or for good."""

import dataclasses
import errno
import io
import shutil
import types

import orbax.checkpoint as ocp
import pytest
import rich.console

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.config import load
from gpt_jax.core.errors import StorageError
from gpt_jax.program.horizon import BatchStage, Horizon
from gpt_jax.tracking.console import TrainConsole
from gpt_jax.tracking.writers import Tracker
from gpt_jax.train import loop, save
from gpt_jax.train.early_stopping import Watched
from gpt_jax.train.rollback import Rollbacks
from gpt_jax.train.save import Saver
from gpt_jax.train.session import SkipCounts
from tests import tiny_runs

HORIZON = Horizon(100, (BatchStage(0, 0, 0, 8, 16),), ramps=False)
CONFIG = tiny_runs.tiny_config({'checkpoint.retry_seconds': (1.0, 5.0, 30.0)})


class Store:
  """Remembers what it was given to save; fails as often as it is told to."""

  def __init__(self):
    self.saved, self.failures = {}, 0
    self.background = 0  # failures that `check` has to tell

  def steps(self):
    return list(self.saved)

  def save(self, step, items, meta, metrics):
    if self.failures:
      self.failures -= 1
      raise StorageError(f'step {step} could not be saved: disk full')
    self.saved[step] = meta, metrics

  def wait(self):
    pass

  def check(self):
    if self.background:
      self.background -= 1
      self.saved.popitem()
      raise StorageError('step could not be saved: disk full')


@pytest.fixture
def clock(monkeypatch):
  """Returns `[seconds]`, the time that saving goes by; sleeping moves it on."""
  now = [100.0]
  monkeypatch.setattr(save.time, 'monotonic', lambda: now[0])
  monkeypatch.setattr(save.time, 'sleep', lambda wait: now.append(now.pop() + wait))
  return now


@pytest.fixture
def session(clock):
  """Returns the Session of a run on a Store; `output` is its console's text."""
  output = io.StringIO()
  rules = types.SimpleNamespace(mesh=types.SimpleNamespace(shape={'data': 2}))
  return types.SimpleNamespace(
    store=Store(),
    program=types.SimpleNamespace(horizon=HORIZON, rules=rules),
    config=CONFIG,
    fingerprints={'data': 'd'},
    output=output,
    console=TrainConsole(100, console=rich.console.Console(file=output)),
    tracker=Tracker([]),
  )


@pytest.fixture
def progress():
  """Returns the Progress of a run at step 5, scored there."""
  return types.SimpleNamespace(
    step=5, scores={'validation/loss': 1.0}, scored_step=5,
    state=types.SimpleNamespace(as_items=lambda: {'params': {}}),
    rollbacks=Rollbacks(HORIZON), skips=SkipCounts(),
    watched=Watched(), base=None,
  )  # fmt: skip


def test_a_checkpoint_says_where_the_data_resumes(session, progress):
  progress.rollbacks = progress.rollbacks.after(7, 4, 0)
  Saver().save(session, progress)
  meta, metrics = session.store.saved[5]
  assert meta == dict(
    next_sample=40 + 24, tokens=640, config=load.to_dict(CONFIG),
    fingerprints={'data': 'd'}, detours=[{'step': 7, 'to': 4, 'samples': 24}],
    tally={'skipped': 0, 'in_a_row': 0}, mesh={'data': 2},
    early_stopping=dataclasses.asdict(Watched()),
  )  # fmt: skip
  assert metrics == {'validation/loss': 1.0}


def test_older_metrics_do_not_go_with_a_newer_state(session, progress):
  progress.scored_step = 4
  Saver().save(session, progress)
  assert session.store.saved[5][1] == {}


def test_a_step_is_saved_once(session, progress):
  Saver().save(session, progress)
  progress.scored_step = 4
  Saver().save(session, progress)
  assert session.store.saved[5][1]


def test_a_state_after_a_bad_step_waits_for_a_good_one(session, progress):
  saver = Saver()
  progress.skips.in_a_row = 1
  saver.save(session, progress)
  assert saver.is_pending and not session.store.saved
  # The end of a run, or a signal: all there is.
  saver.save_and_wait(session, progress)
  assert 5 in session.store.saved
  progress.step, progress.skips.in_a_row = 6, 0
  saver.save(session, progress)
  assert not saver.is_pending and 6 in session.store.saved


def test_a_failed_save_is_retried_while_training_goes_on(session, progress, clock):
  saver = Saver()
  session.store.failures = 2
  saver.save(session, progress)
  assert saver.is_pending
  assert 'Try 1 of 4; the next in 1 s.' in session.output.getvalue()
  progress.step = 6
  assert not saver.may_try()
  saver.save(session, progress)  # one comes due while the wait lasts
  assert saver.failures == 1
  clock[0] += 1
  saver.save(session, progress)
  assert 'Try 2 of 4; the next in 5 s.' in session.output.getvalue()
  clock[0] += 4
  assert not saver.may_try()
  clock[0] += 1
  progress.step = 9
  saver.save(session, progress)
  saver.poll(session, progress)
  assert list(session.store.saved) == [9] and saver == Saver()
  assert 'saving works again: step 9' in session.output.getvalue()


def test_failures_behind_the_steps_count_until_a_commit(session, progress, clock):
  saver = Saver()
  session.store.saved[2] = {}, {}
  for failures in (1, 2, 3):
    saver.save(session, progress)
    assert not saver.is_pending
    session.store.background = 1
    saver.poll(session, progress)
    assert saver.is_pending and saver.failures == failures
    clock[0] += 30
  saver.save(session, progress)
  session.store.background = 1
  with pytest.raises(StorageError) as error:
    saver.poll(session, progress)
  (note,) = error.value.__notes__
  assert note == 'Gave up at step 5, tries: 4; the last good step is 2.'


def test_the_end_waits_for_the_disk_as_no_step_follows(session, progress, clock):
  session.store.failures = 3
  Saver().save_and_wait(session, progress)
  assert 5 in session.store.saved and clock[0] == 136
  output = session.output.getvalue()
  assert output.count('disk full') == 3 and 'Training goes on' not in output


def test_a_disk_that_stays_full_ends_the_run(session, progress):
  session.store.saved[3] = {}, {}
  session.store.failures = 9
  with pytest.raises(StorageError) as error:
    Saver().save_and_wait(session, progress)
  (note,) = error.value.__notes__
  assert note == 'Gave up at step 5, tries: 4; the last good step is 3.'
  assert error.value.exit_code == 5


def test_a_save_that_fails_behind_the_steps_is_repeated(tmp_path, monkeypatch):
  waits = {'checkpoint.retry_seconds': (0.0,)}
  config = tiny_runs.tiny_config({'checkpoint.every_steps': 2} | waits)
  usual, failed = ocp.CheckpointManager.check_for_errors, []

  def full_disk(self):
    usual(self)
    if not failed:
      failed.append(True)
      shutil.rmtree(tmp_path / 'checkpoints' / '2')
      raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(ocp.CheckpointManager, 'check_for_errors', full_disk)
  loop.train(config, tmp_path, quiet=True)
  monkeypatch.undo()
  with CheckpointReader(tmp_path / 'checkpoints') as store:
    saved = store.steps()
    # In the place of step 2: the step at which its failure was seen.
    assert 2 not in saved and saved[0] in (3, 4) and saved[-1] == 6
  assert list(tiny_runs.losses(tmp_path)) == [1, 2, 3, 4, 5, 6]
