"""What a checkpoint is saved with, and saves that fail at first or for good."""

import errno
import io
import shutil
import types

import orbax.checkpoint as ocp
import pytest
import rich.console

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import StorageError
from gpt_jax.program.horizon import BatchStage, Horizon
from gpt_jax.tracking.console import TrainConsole
from gpt_jax.train import divergence, loop, rollback
from gpt_jax.train import save as saving
from tests import tiny_runs

HORIZON = Horizon(16, 100, (BatchStage(0, 0, 8),))


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
  monkeypatch.setattr(saving.time, 'monotonic', lambda: now[0])
  monkeypatch.setattr(saving.time, 'sleep', lambda wait: now.append(now.pop() + wait))
  return now


@pytest.fixture
def run(clock):
  """Returns a run at step 5, scored there; `said` is its console's text."""
  said = io.StringIO()
  rules = types.SimpleNamespace(mesh=types.SimpleNamespace(shape={'data': 2}))
  checkpoint = types.SimpleNamespace(retry_seconds=(1.0, 5.0, 30.0))
  return types.SimpleNamespace(
    step=5, store=Store(), program=types.SimpleNamespace(horizon=HORIZON, rules=rules),
    saved_config={'seed': 0}, fingerprints={'data': 'd'}, scored_step=5,
    scores={'validation/loss': 1.0}, said=said,
    state=types.SimpleNamespace(as_items=lambda: {'params': {}}),
    detours=rollback.Detours(HORIZON), tally=divergence.SkipCounts(), debt=saving.PendingSave(),
    config=types.SimpleNamespace(checkpoint=checkpoint),
    console=TrainConsole(100, console=rich.console.Console(file=said)),
  )  # fmt: skip


def test_a_checkpoint_says_where_the_data_goes_on(run):
  run.detours = run.detours.after(7, 4, 0)
  saving.save(run)
  meta, metrics = run.store.saved[5]
  assert meta == dict(
    next_sample=40 + 24, tokens=640, config={'seed': 0}, fingerprints={'data': 'd'},
    detours=[{'step': 7, 'to': 4, 'samples': 24}],
    tally={'skipped': 0, 'in_a_row': 0}, mesh={'data': 2},
  )  # fmt: skip
  assert metrics == {'validation/loss': 1.0}


def test_older_figures_do_not_go_with_a_newer_state(run):
  run.scored_step = 4
  saving.save(run)
  assert run.store.saved[5][1] == {}


def test_a_step_is_saved_once(run):
  saving.save(run)
  run.scored_step = 4
  saving.save(run)
  assert run.store.saved[5][1]


def test_a_state_after_a_bad_step_waits_for_a_good_one(run):
  run.tally.in_a_row = 1
  saving.save(run)
  assert run.debt.is_owed and not run.store.saved
  saving.save_and_wait(run)  # the end of a run, or a signal: all there is
  assert 5 in run.store.saved
  run.step, run.tally.in_a_row = 6, 0
  saving.save(run)
  assert not run.debt.is_owed and 6 in run.store.saved


def test_a_failed_save_is_tried_again_later_while_training_goes_on(run, clock):
  run.store.failures = 2
  saving.save(run)
  assert run.debt.is_owed and 'Try 1 of 4; the next in 1 s.' in run.said.getvalue()
  run.step = 6
  assert not saving.may_try(run)
  saving.save(run)  # one comes due while the wait lasts
  assert run.debt.failures == 1
  clock[0] += 1
  saving.save(run)
  assert 'Try 2 of 4; the next in 5 s.' in run.said.getvalue()
  clock[0] += 4
  assert not saving.may_try(run)
  clock[0] += 1
  run.step = 9
  saving.save(run)
  saving.poll(run)
  assert list(run.store.saved) == [9] and run.debt == saving.PendingSave()
  assert 'saving works again: step 9' in run.said.getvalue()


def test_what_fails_behind_the_steps_counts_until_a_step_is_committed(run, clock):
  run.store.saved[2] = {}, {}
  for failures in (1, 2, 3):
    saving.save(run)
    assert not run.debt.is_owed
    run.store.background = 1
    saving.poll(run)
    assert run.debt.is_owed and run.debt.failures == failures
    clock[0] += 30
  saving.save(run)
  run.store.background = 1
  with pytest.raises(StorageError) as error:
    saving.poll(run)
  (note,) = error.value.__notes__
  assert note == 'Gave up at step 5, tries: 4; the last good step is 2.'


def test_the_end_waits_for_the_disk_as_no_step_follows(run, clock):
  run.store.failures = 3
  saving.save_and_wait(run)
  assert 5 in run.store.saved and clock[0] == 136
  said = run.said.getvalue()
  assert said.count('disk full') == 3 and 'Training goes on' not in said


def test_a_full_disk_that_stays_ends_the_run_and_names_the_last_good_step(run):
  run.store.saved[3] = {}, {}
  run.store.failures = 9
  with pytest.raises(StorageError) as error:
    saving.save_and_wait(run)
  (note,) = error.value.__notes__
  assert note == 'Gave up at step 5, tries: 4; the last good step is 3.'
  assert error.value.exit_code == 5


def test_a_save_that_fails_behind_the_steps_is_made_up_for(tmp_path, monkeypatch):
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
