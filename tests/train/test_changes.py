"""Runs that go on with other batches: every sample once, every step replayed."""

import dataclasses

import pytest

from gpt_jax.core.errors import CheckpointError
from gpt_jax.parallel import multihost
from gpt_jax.program.horizon import START, make_horizon
from gpt_jax.train import changes, loop, replay
from gpt_jax.train.rollback import Rollbacks, Spike, decide
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.train import bad_batches

KEEP_NONE = {'checkpoint.keep_best': 0}
OLD = tiny_runs.tiny_config({'train.steps': 40})


def changed(config, **train):
  return dataclasses.replace(config, train=dataclasses.replace(config.train, **train))


def rows(config, length):
  return dataclasses.replace(
    config, data=dataclasses.replace(config.data, seq_len=length)
  )


def ranges(events, config):
  """Returns [(first, last sample)] of each step that is left, by run.json."""
  past = changes.past_of(events)
  horizon = make_horizon(config.train, config.data.seq_len, past)
  rollbacks = Rollbacks.read(horizon, events)
  return [rollbacks.samples_of(step) for step in range(1, horizon.total_steps + 1)]


def resume_with(events, step, old, new, *fields):
  """Returns (events, notes) of a resume at `step`."""
  return changes.record(events, step, [(field, 0, 1) for field in fields], old, new)


ROLLBACK = dict(kind='rollback', step=9, to=6, samples=32)
WIDE = changed(OLD, batch_size=12)
RAMP = changed(OLD, ramp_start_batch_size=2, ramp_tokens=40 * 16)


@pytest.mark.parametrize('events', [[], [ROLLBACK]], ids=['plain', 'rolled back'])
@pytest.mark.parametrize('new', [WIDE, RAMP], ids=['batch', 'ramp'])
def test_no_sample_is_left_out_or_seen_twice(events, new):
  before = ranges(events, OLD)
  events, (note,) = resume_with(events, 10, OLD, new, 'train.batch_size')
  after = ranges(events, new)
  assert after[:10] == before[:10]
  for (_, last), (first, _) in zip(after[9:], after[10:], strict=False):
    assert first == last + 1
  assert f'begin with sample {after[10][0]:,},' in note


def test_changes_of_changes_keep_all_steps_before():
  events, _ = resume_with([], 10, OLD, WIDE, 'train.batch_size')
  events, _ = resume_with(events, 20, WIDE, WIDE, 'optimizer.learning_rate')
  events, _ = resume_with(events, 30, WIDE, OLD, 'train.batch_size')
  sizes = [last - first + 1 for first, last in ranges(events, OLD)]
  assert sizes == 10 * [8] + 20 * [12] + 10 * [8]
  firsts = [first for first, _ in ranges(events, OLD)]
  assert firsts == [sum(sizes[:i]) for i in range(40)]


def test_a_change_that_saved_nothing_is_replaced():
  events, _ = resume_with([], 10, OLD, WIDE, 'train.batch_size')
  events, _ = resume_with(events, 10, OLD, RAMP, 'train.ramp_tokens')
  assert len(events) == 1 and events[0]['fields'][0][0] == 'train.ramp_tokens'


def test_other_rows_begin_after_as_many_tokens():
  for kept in ([], [ROLLBACK]):
    read = ranges(kept, OLD)[10][0]
    events, (note,) = resume_with(kept, 10, OLD, rows(OLD, 5), 'data.seq_len')
    assert ranges(events, rows(OLD, 5))[10][0] == read * 16 // 5
    assert 'some comes twice and some does not come' in note


def test_a_change_of_other_fields_moves_nothing():
  events, notes = resume_with([], 10, OLD, OLD, 'optimizer.learning_rate')
  assert changes.past_of(events) == START and not notes


def test_the_config_of_an_earlier_step_comes_back():
  values = {'train': {'batch_size': 3}, 'data': {'mixture': {}}, 'seed': 1}
  events = [
    dict(kind='changes', step=4, fields=[['train.batch_size', 1, 2]], past=None),
    dict(
      kind='changes', step=8, past=None,
      fields=[['train.batch_size', 2, 3], ['data.mixture.a.weight', 1.0, '(absent)']],
    ),
  ]  # fmt: skip
  at = [changes.config_at(values, events, step) for step in (4, 5, 8, 9)]
  assert [one['train']['batch_size'] for one in at] == [1, 2, 2, 3]
  assert [one['data']['mixture'] for one in at] == 3 * [{'a': {'weight': 1.0}}] + [{}]


def test_a_rollback_does_not_return_to_before_the_change():
  events, _ = resume_with([], 10, OLD, WIDE, 'train.batch_size')
  horizon = make_horizon(WIDE.train, WIDE.data.seq_len, changes.past_of(events))
  for saved, to in (([3, 6, 10, 12], 10), ([3, 6], 10)):
    taken = decide(Rollbacks(horizon), Spike(13, {}, []), saved, WIDE.guard).taken
    assert taken[-1].to == to
  changes.require_present(10, horizon)
  with pytest.raises(CheckpointError, match='at step 6 instead'):
    changes.require_present(6, horizon)


@pytest.mark.slow
def test_a_run_with_other_batches_is_replayed_step_by_step(
  tmp_path, monkeypatch, capsys
):
  seen, usual = [], multihost.global_batch

  def watch(batch, sharding):
    seen.append(batch['tokens'].tolist())
    return usual(batch, sharding)

  monkeypatch.setattr(multihost, 'global_batch', watch)
  overrides = KEEP_NONE | {'eval.sets': {}, 'model.max_seq_len': 16}
  for more in (
    {},
    {'train.batch_size': 16, 'train.steps': 8},
    {'train.batch_size': 16, 'train.steps': 10, 'data.seq_len': 8},
  ):
    config = tiny_runs.tiny_config(overrides | more)
    loop.train(config, tmp_path, allow_changes=True)
  said = capsys.readouterr().out
  assert 'begin with sample 48,' in said and 'data.seq_len=8: rows' in said
  assert len(seen) == 10
  for step, rows_of_step in enumerate(seen, start=1):
    parts = replay.replay(tmp_path, step, with_loss=False).parts
    for row, tokens in enumerate(rows_of_step):
      assert [t for p in parts if p.row == row for t in p.tokens] == tokens
  tokens = [line['tokens'] for line in tiny_runs.lines(tmp_path)]
  assert tokens == [*range(128, 769, 128), 1024, 1280, 1408, 1536]


def test_changes_of_a_run_that_begins_anew_are_past(tmp_path):
  events, _ = resume_with([], 10, OLD, WIDE, 'train.batch_size')
  provenance.write_events(Workdir(tmp_path), events)
  config = tiny_runs.tiny_config({'train.steps': 1, 'eval.sets': {}} | KEEP_NONE)
  loop.train(config, tmp_path, quiet=True)
  assert provenance.read_events(Workdir(tmp_path)) == []
  assert tiny_runs.lines(tmp_path)[0]['tokens'] == 8 * 16


@pytest.mark.slow
def test_a_rollback_after_a_change_reads_on_behind_it(tmp_path, monkeypatch):
  overrides = bad_batches.SPIKES | {'guard.spikes': 'rollback', 'train.steps': 10}
  # One token again and again, but for step 13: 16 samples from 80 + 2 * 16 on.
  bad_batches.serve(monkeypatch, lambda n: None if 112 <= n <= 127 else 3)
  loop.train(tiny_runs.tiny_config(overrides), tmp_path, quiet=True)
  more = {'train.batch_size': 16, 'train.steps': 16, 'guard.rollback_steps': 9}
  config = tiny_runs.tiny_config(overrides | more)
  loop.train(config, tmp_path, allow_changes=True, quiet=True)
  change, rollback = bad_batches.events(tmp_path)
  assert (change['kind'], change['step']) == ('changes', 10)
  # Not to step 4 or 8, which other batches made.
  assert (rollback['step'], rollback['to']) == (13, 10)
  assert rollback['samples'] == (3 + 1) * 16
  assert replay.replay(tmp_path, 11, with_loss=False).first_sample == 80 + 64
  assert replay.replay(tmp_path, 10, with_loss=False).first_sample == 72
  assert [line['step'] for line in tiny_runs.lines(tmp_path)] == [*range(1, 17)]
