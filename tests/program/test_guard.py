"""Bad steps: no update, counted, bounded; spikes skipped or gone back behind."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gpt_jax import objectives
from gpt_jax.checkpoints import manager
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import CheckpointError, DivergedError
from gpt_jax.data import pipeline
from gpt_jax.objectives import causal_lm
from gpt_jax.objectives.example import Objective
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program import guard
from gpt_jax.program.build import build_program
from gpt_jax.program.horizon import BatchStage, Horizon
from gpt_jax.train import loop, resume, rollback
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

HORIZON = Horizon(16, 1000, (BatchStage(0, 0, 8),))


RUN = {
  'data.generator.vocab_size': 8,
  'data.generator.order': 1,
  'train.steps': 16,
  'eval.every_steps': 0,
  'checkpoint.every_steps': 4,
  'checkpoint.keep_best': 0,
  'checkpoint.keep_last': 99,
  'eval.sets': {},
  'optimizer.ema_decay': 0.9,
}
NAN = {'objective.name': 'tests.program.test_guard:nan_at_bad_rows'}
SPIKES = RUN | {
  'guard.spike_window': 8,
  'guard.spike_threshold': 6.0,
  'guard.rollback_steps': 4,
  'guard.rollback_extra_steps': 1,
}


BAD = 7
"""The id of rows whose loss is no number, under the objective below."""


def nan_at_bad_rows(cfg, *, vocab, seq_len):
  """Returns next-token prediction that rows of BAD alone turn into NaN."""
  causal = causal_lm.make(cfg, vocab=vocab, seq_len=seq_len)

  def build(batch, rng):
    example = causal(batch, rng)
    is_bad_B1 = jnp.all(batch['tokens'] == BAD, axis=1, keepdims=True)
    weights_BT = jnp.where(is_bad_B1, jnp.inf, example.weights_BT)
    return dataclasses.replace(example, weights_BT=weights_BT)

  return Objective(build)


def serve(monkeypatch, tokens_at):
  """Makes training sample n consist of `tokens_at(n)`; None: of what it would have."""
  usual = pipeline.Dataset.sample

  def sample(self, n):
    found, tokens = usual(self, n), tokens_at(n)
    if tokens is not None and not self.fingerprint['for_eval']:
      found = found | {'tokens': np.full_like(found['tokens'], tokens)}
    return found

  monkeypatch.setattr(pipeline.Dataset, 'sample', sample)


def without_numbers(monkeypatch, first, last=10**9):
  """Makes the loss of the samples from `first` to `last` no number."""
  serve(monkeypatch, lambda n: BAD if first <= n <= last else None)


def with_a_spike(monkeypatch):
  """Teaches one token again and again, but for the samples of step 12."""
  serve(monkeypatch, lambda n: None if 88 <= n <= 95 else 3)


def events(workdir):
  return provenance.read_events(Workdir(workdir))


def test_a_bad_step_changes_no_bit_but_the_step_and_its_rate():
  before = {'w': jnp.ones(3), 's': optax.ScaleByScheduleState(jnp.int32(4))}
  after = {'w': jnp.full(3, jnp.nan), 's': optax.ScaleByScheduleState(jnp.int32(5))}
  for loss, norm in ((np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (1.0, np.inf)):
    is_good = guard.is_good_step(jnp.float32(loss), jnp.float32(norm), None, 6.0)
    chosen = guard.select(is_good, after, before)
    np.testing.assert_array_equal(chosen['w'], before['w'])
    assert chosen['s'].count == 5
  is_good = guard.is_good_step(jnp.float32(1), jnp.float32(1), None, 6.0)
  assert np.isnan(guard.select(is_good, after, before)['w']).all()


def test_a_spike_stands_out_of_the_median_of_a_full_window():
  history = guard.empty_history(5)
  losses = [3.0, 3.1, 2.9, 3.2, 2.8]
  for loss in losses:
    assert guard.highest_loss(history, 6.0) == np.inf
    history = guard.append(history, loss)
  spread = 1.4826 * np.median(np.abs(np.array(losses) - 3.0))
  assert guard.highest_loss(history, 6.0) == pytest.approx(3.0 + 6 * spread, rel=1e-6)
  # The oldest leaves first, and equal losses make no spike of the next rounding.
  for _ in range(5):
    history = guard.append(history, 2.0)
  assert guard.highest_loss(history, 6.0) == pytest.approx(2.0 * 1.006)
  assert bool(guard.is_good_step(jnp.float32(2.01), jnp.float32(1), history, 6.0))
  assert not bool(guard.is_good_step(jnp.float32(2.02), jnp.float32(1), history, 6.0))


def test_a_batch_of_nan_is_left_out_counted_and_named(tmp_path, monkeypatch, capsys):
  without_numbers(monkeypatch, 48, 55)  # step 7
  config = tiny_runs.tiny_config(RUN | {'checkpoint.every_steps': 1} | NAN)
  loop.train(config, tmp_path)
  before, after = (tiny_runs.saved_arrays(tmp_path, n) for n in (6, 8))
  assert all(np.isfinite(values).all() for values in after.values())
  (event,) = events(tmp_path)
  assert (event['kind'], event['step'], event['loss']) == ('not finite', 7, 'nan')
  assert (event['first_sample'], event['last_sample']) == (48, 55)
  assert f'replay --workdir={tmp_path} --step=7' in capsys.readouterr().out
  counts = [line['train/skipped'] for line in tiny_runs.lines(tmp_path)]
  assert counts == 6 * [0] + 10 * [1]
  # No step is saved while the last one was bad: 7 waits and 8 follows.
  with CheckpointReader(tmp_path / 'checkpoints') as store:
    assert 7 not in store.steps() and 8 in store.steps()
    assert store.read_meta(16)['tally'] == {'skipped': 1, 'in_a_row': 0}
  assert before["['train']['step']"] == 6


def test_a_skipped_step_leaves_the_state_of_the_step_before():
  config = tiny_runs.tiny_config(RUN | NAN)

  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  vocab = objectives.Vocab(size=8, eos_id=None)
  program = build_program(config, vocab=vocab, mesh=mesh)
  good = {'tokens': np.tile(np.arange(17, dtype=np.int32) % 8, (8, 1))}
  bad = {'tokens': np.full_like(good['tokens'], BAD)}
  state, _ = program.step(program.init(0), good)
  before = tiny_runs.named(state)
  state, metrics = program.step(state, bad)
  assert metrics['skipped'] == 1
  after = tiny_runs.named(state)
  counters = {n for n in after if (after[n] != before[n]).any()}
  assert all(after[name] == before[name] + 1 for name in counters)
  assert len(counters) == 2  # the step and the schedule's


def test_k_in_a_row_end_the_run_with_a_post_mortem(tmp_path, monkeypatch):
  without_numbers(monkeypatch, 48)  # from step 7 on
  config = tiny_runs.tiny_config(RUN | NAN | {'guard.max_bad_steps': 3})
  with pytest.raises(DivergedError, match='train/loss=nan at step 9: 3 steps in a row'):
    loop.train(config, tmp_path, quiet=True)
  found = json.loads(Workdir(tmp_path).postmortem.read_text())
  assert found['step'] == 9
  assert [bad['step'] for bad in found['bad_steps']] == [7, 8, 9]
  assert found['bad_steps'][0]['first_sample'] == 48
  assert found['history'][0]['loss'] > 0 and found['history'][-1]['loss'] == 'nan'
  assert found['norms']['grad/embed/embedding'] == 'nan'
  assert found['norms']['param/embed/embedding'] > 0
  assert found['checkpoints'] == [4]


def test_a_spike_is_skipped_and_a_resumed_run_skips_it_again(tmp_path, monkeypatch):
  with_a_spike(monkeypatch)
  config = tiny_runs.tiny_config(SPIKES | {'guard.spikes': 'skip'})
  loop.train(config, tmp_path / 'whole', quiet=True)
  (event,) = events(tmp_path / 'whole')
  assert (event['kind'], event['step']) == ('spike', 12)
  assert event['loss'] > event['highest_loss'] > 0

  class Crash(BaseException):
    pass

  def crash(run):
    run.store.wait()
    raise Crash

  with monkeypatch.context() as patch, pytest.raises(Crash):
    tiny_runs.after_step(patch, 13, crash)
    loop.train(config, tmp_path / 'cut', quiet=True)
  loop.train(config, tmp_path / 'cut', quiet=True)
  assert events(tmp_path / 'cut') == events(tmp_path / 'whole')
  assert tiny_runs.lines(tmp_path / 'cut') == tiny_runs.lines(tmp_path / 'whole')
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(tmp_path / 'cut'), tiny_runs.saved_arrays(tmp_path / 'whole')
  )
  # Another window begins anew, and only on request.
  wider = tiny_runs.tiny_config(
    SPIKES | {'guard.spikes': 'skip', 'guard.spike_window': 9, 'train.steps': 17}
  )
  with pytest.raises(CheckpointError, match='guard.spike_window: 8 -> 9'):
    loop.train(wider, tmp_path / 'cut', quiet=True)
  loop.train(wider, tmp_path / 'cut', quiet=True, allow_changes=True)
  assert tiny_runs.saved_arrays(tmp_path / 'cut')["['window']['count']"] == 1


@pytest.fixture(scope='module')
def rolled_back(tmp_path_factory):
  """Returns the workdir of a run that met a spike and went back. Only read it."""
  workdir = tmp_path_factory.mktemp('runs') / 'rolled_back'
  with pytest.MonkeyPatch.context() as patch:
    with_a_spike(patch)
    config = tiny_runs.tiny_config(SPIKES | {'guard.spikes': 'rollback'})
    loop.train(config, workdir, quiet=True)
  return workdir


def test_a_rollback_goes_back_leaves_the_data_out_and_is_the_same_when_resumed(
  rolled_back, tmp_path, monkeypatch
):
  with_a_spike(monkeypatch)
  config = tiny_runs.tiny_config(SPIKES | {'guard.spikes': 'rollback'})
  (event,) = events(rolled_back)
  assert (event['kind'], event['step'], event['to']) == ('rollback', 12, 8)
  # Batches 9 to 12 and one more: the poison is among them.
  assert event['samples'] == 5 * 8
  assert [line['step'] for line in tiny_runs.lines(rolled_back)] == [*range(1, 17)]
  with CheckpointReader(rolled_back / 'checkpoints') as store:
    assert store.steps() == [4, 8, 12, 16]
    assert store.read_meta(8)['next_sample'] == 64
    assert store.read_meta(16)['next_sample'] == 128 + 40

  class Crash(BaseException):
    pass

  def crash(run):
    run.store.wait()
    raise Crash

  for at in (10, 14):  # before and after the spike that is at 12
    with monkeypatch.context() as patch, pytest.raises(Crash):
      tiny_runs.after_step(patch, at, crash)
      loop.train(config, tmp_path / f'cut{at}', quiet=True)
    loop.train(config, tmp_path / f'cut{at}', quiet=True)
    assert events(tmp_path / f'cut{at}') == [event]
    assert tiny_runs.lines(tmp_path / f'cut{at}') == tiny_runs.lines(rolled_back)
    tiny_runs.assert_same(
      tiny_runs.saved_arrays(tmp_path / f'cut{at}'),
      tiny_runs.saved_arrays(rolled_back),
    )


def test_a_rollback_to_a_damaged_step_goes_further_back(
  rolled_back, tmp_path, monkeypatch, capsys
):
  with_a_spike(monkeypatch)
  folder = tmp_path / 'checkpoints'

  def damage(run):
    if not run.detours.taken:
      run.store.wait()
      (folder / '8' / 'params' / '_METADATA').write_text('{}')

  tiny_runs.after_step(monkeypatch, 10, damage)
  config = tiny_runs.tiny_config(SPIKES | {'guard.spikes': 'rollback'})
  loop.train(config, tmp_path, quiet=True)
  assert 'checkpoints/8 is damaged' in capsys.readouterr().err
  assert (folder / '8.damaged').is_dir() and (folder / '8').is_dir()
  ours, expected = (tiny_runs.saved_arrays(run) for run in (tmp_path, rolled_back))
  tiny_runs.assert_same(ours, expected)
  assert tiny_runs.lines(tmp_path) == tiny_runs.lines(rolled_back)


def test_an_older_step_whose_record_is_damaged_is_set_aside(rolled_back, tmp_path):
  tiny_runs.copy(rolled_back, tmp_path / 'run')
  folder = tmp_path / 'run' / 'checkpoints'
  (folder / '4' / 'meta' / 'metadata').write_text('{}')
  way = rollback.Detours.read(HORIZON, events(rolled_back))
  with manager.Checkpoints(
    folder, keep_last=9, keep_best=0, best_metric='', asynchronous=True
  ) as store:
    resume.delete_abandoned_checkpoints(store, way)
    assert store.steps() == [8, 12, 16]
    resume.delete_abandoned_checkpoints(
      store, way.after(14, 8, 0)
    )  # deletes what lies behind it
    assert store.steps() == [8]
  assert (folder / '4.damaged').is_dir()


def test_used_up_rollbacks_end_the_run_with_a_post_mortem(tmp_path, monkeypatch):
  # The samples of step 12, and after a rollback to step 8 those of step 13.
  serve(monkeypatch, lambda n: None if 88 <= n <= 95 or n >= 136 else 3)
  overrides = {'guard.spikes': 'rollback', 'guard.max_rollbacks': 1}
  config = tiny_runs.tiny_config(SPIKES | overrides)
  with pytest.raises(DivergedError, match='after 1 rollbacks') as error:
    loop.train(config, tmp_path, quiet=True)
  found = json.loads(Workdir(tmp_path).postmortem.read_text())
  assert (found['step'], found['checkpoints'][-1]) == (13, 12)
  assert found['bad_steps'][0]['first_sample'] == 136
  assert found['history'][-1]['loss'] > 1 and found['history'][-1]['skipped']
  assert found['norms']['param/embed/embedding'] > 0
  assert [event['kind'] for event in events(tmp_path)] == ['rollback', 'spike']
  for part in ('postmortem.json', 'optimizer.learning_rate', 'guard.max_rollbacks'):
    assert part in str(error.value)


def test_rollbacks_end_at_their_limit_and_at_the_start_where_nothing_is_saved():
  config = tiny_runs.tiny_config(SPIKES | {'guard.max_rollbacks': 1})
  found = rollback.RollBack(12, {'loss': 9.0})
  none = rollback.Detours(HORIZON)
  assert rollback.decide(none, found, [4, 8, 10], config.guard).taken[0].to == 8
  assert rollback.decide(none, found, [10, 11], config.guard).taken[0].to == 10
  once = rollback.decide(none, found, [], config.guard)
  assert once.taken == (rollback.Detour(12, 0, 13 * 8),)
  with pytest.raises(DivergedError, match=r'after 1 rollbacks \(guard.max_rollbacks\)'):
    rollback.decide(once, found, [], config.guard)


def test_what_a_step_read_follows_from_the_rollbacks_behind_which_it_lies():
  way = rollback.Detours(HORIZON)
  assert way.first_sample(7) == 56
  way = way.after(120, 100, 10)  # data of steps 101 to 130 left out
  assert way.samples_of(100) == (99 * 8, 100 * 8 - 1)
  assert way.samples_of(101) == (130 * 8, 131 * 8 - 1)
  further = way.after(110, 50, 0)  # by then the data of step 140 was read
  assert further.first_sample(49) == 49 * 8
  assert further.first_sample(50) == 140 * 8
  assert further.first_sample(100) == 190 * 8
  known = further.as_json()
  assert further.is_on_branch(50, []) and not further.is_on_branch(51, [])
  assert not further.is_on_branch(100, known[:1]) and further.is_on_branch(100, known)
  assert (
    rollback.Detours.read(
      HORIZON, [dict(kind='rollback', loss=1.0, **one) for one in known]
    ).as_json()
    == known
  )
