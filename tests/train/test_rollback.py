"""Rollbacks: where a run returns to, what it skips, and what each step reads."""

import pytest

from gpt_jax.checkpoints import manager
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import DivergedError
from gpt_jax.program.horizon import BatchStage, Horizon
from gpt_jax.train import loop, resume
from gpt_jax.train.rollback import Rollback, Rollbacks, Spike, decide
from tests import tiny_runs
from tests.train import bad_batches

HORIZON = Horizon(1000, (BatchStage(0, 0, 0, 8, 16),), ramps=False)


@pytest.fixture(scope='module')
def rolled_back(tmp_path_factory):
  """Returns the workdir of a run that met a spike and went back. Only read it."""
  workdir = tmp_path_factory.mktemp('runs') / 'rolled_back'
  with pytest.MonkeyPatch.context() as patch:
    bad_batches.serve_a_spike(patch)
    config = tiny_runs.tiny_config(bad_batches.SPIKES | {'guard.spikes': 'rollback'})
    loop.train(config, workdir, quiet=True)
  return workdir


def test_a_rollback_skips_the_data_since_and_some_more(rolled_back):
  (event,) = bad_batches.events(rolled_back)
  assert (event['kind'], event['step'], event['to']) == ('rollback', 12, 8)
  # Batches 9 to 12 and one more: those of the spike are among them.
  assert event['samples'] == 5 * 8
  assert [line['step'] for line in tiny_runs.lines(rolled_back)] == [*range(1, 17)]
  with CheckpointReader(rolled_back / 'checkpoints') as store:
    assert store.steps() == [4, 8, 12, 16]
    assert store.read_meta(8)['next_sample'] == 64
    assert store.read_meta(16)['next_sample'] == 128 + 40


@pytest.mark.slow
@pytest.mark.parametrize('crash', [10, 14])
def test_a_resumed_run_rolls_back_alike(crash, rolled_back, tmp_path, monkeypatch):
  bad_batches.serve_a_spike(monkeypatch)  # at step 12
  config = tiny_runs.tiny_config(bad_batches.SPIKES | {'guard.spikes': 'rollback'})
  tiny_runs.train_until_crash(config, tmp_path, crash)
  loop.train(config, tmp_path, quiet=True)
  assert bad_batches.events(tmp_path) == bad_batches.events(rolled_back)
  assert tiny_runs.lines(tmp_path) == tiny_runs.lines(rolled_back)
  ours, expected = (tiny_runs.saved_arrays(run) for run in (tmp_path, rolled_back))
  tiny_runs.assert_same(ours, expected)


@pytest.mark.slow
def test_a_rollback_to_a_damaged_step_goes_further_back(
  rolled_back, tmp_path, monkeypatch, capsys
):
  bad_batches.serve_a_spike(monkeypatch)
  folder = tmp_path / 'checkpoints'

  def damage(session, progress):
    if not progress.rollbacks.taken:
      session.store.wait()
      (folder / '8' / 'params' / '_METADATA').write_text('{}')

  tiny_runs.after_step(monkeypatch, 10, damage)
  config = tiny_runs.tiny_config(bad_batches.SPIKES | {'guard.spikes': 'rollback'})
  loop.train(config, tmp_path, quiet=True)
  assert 'checkpoints/8 is damaged' in capsys.readouterr().err
  assert (folder / '8.damaged').is_dir() and (folder / '8').is_dir()
  ours, expected = (tiny_runs.saved_arrays(run) for run in (tmp_path, rolled_back))
  tiny_runs.assert_same(ours, expected)
  assert tiny_runs.lines(tmp_path) == tiny_runs.lines(rolled_back)


def test_an_older_step_with_a_damaged_record_is_quarantined(rolled_back, tmp_path):
  tiny_runs.copy(rolled_back, tmp_path / 'run')
  folder = tmp_path / 'run' / 'checkpoints'
  (folder / '4' / 'meta' / 'metadata').write_text('{}')
  rollbacks = Rollbacks.read(HORIZON, bad_batches.events(rolled_back))
  with manager.Checkpoints(
    folder, keep_last=9, keep_best=0, best_metric='', asynchronous=True
  ) as store:
    resume.delete_abandoned_checkpoints(store, rollbacks)
    assert store.steps() == [8, 12, 16]
    resume.delete_abandoned_checkpoints(store, rollbacks.after(14, 8, 0))
    assert store.steps() == [8]
  assert (folder / '4.damaged').is_dir()


def test_rollbacks_end_at_their_limit():
  config = tiny_runs.tiny_config(bad_batches.SPIKES | {'guard.max_rollbacks': 1})
  spike = Spike(12, {'loss': 9.0}, [])
  none = Rollbacks(HORIZON)
  assert decide(none, spike, [4, 8, 10], config.guard).taken[0].to == 8
  assert decide(none, spike, [10, 11], config.guard).taken[0].to == 10
  once = decide(none, spike, [], config.guard)
  assert once.taken == (Rollback(12, 0, 13 * 8),)
  with pytest.raises(DivergedError, match=r'after 1 rollbacks \(guard.max_rollbacks\)'):
    decide(once, spike, [], config.guard)


def test_rollbacks_decide_which_samples_a_step_reads():
  rollbacks = Rollbacks(HORIZON)
  assert rollbacks.first_sample(7) == 56
  rollbacks = rollbacks.after(120, 100, 10)  # data of steps 101 to 130 skipped
  assert rollbacks.samples_of(100) == (99 * 8, 100 * 8 - 1)
  assert rollbacks.samples_of(101) == (130 * 8, 131 * 8 - 1)
  further = rollbacks.after(110, 50, 0)  # by then the data of step 140 was read
  assert further.first_sample(49) == 49 * 8
  assert further.first_sample(50) == 140 * 8
  assert further.first_sample(100) == 190 * 8
  known = further.as_json()
  assert further.is_on_branch(50, []) and not further.is_on_branch(51, [])
  assert not further.is_on_branch(100, known[:1]) and further.is_on_branch(100, known)
  assert (
    Rollbacks.read(
      HORIZON, [dict(kind='rollback', loss=1.0, **one) for one in known]
    ).as_json()
    == known
  )
