"""Bad steps: counted, recorded, and too many of them end the run."""

import json

import numpy as np
import pytest

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import CheckpointError, DivergedError
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.train import bad_batches


@pytest.mark.slow
def test_a_batch_of_nan_is_skipped_counted_and_named(tmp_path, monkeypatch, capsys):
  bad_batches.serve_nan(monkeypatch, 48, 55)  # step 7
  config = tiny_runs.tiny_config(
    bad_batches.RUN | {'checkpoint.every_steps': 1} | bad_batches.NOT_FINITE
  )
  loop.train(config, tmp_path)
  before, after = (tiny_runs.saved_arrays(tmp_path, n) for n in (6, 8))
  assert all(np.isfinite(values).all() for values in after.values())
  (event,) = bad_batches.events(tmp_path)
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


@pytest.mark.slow
def test_bad_steps_in_a_row_end_the_run_with_a_post_mortem(tmp_path, monkeypatch):
  bad_batches.serve_nan(monkeypatch, 48)  # from step 7 on
  config = tiny_runs.tiny_config(
    bad_batches.RUN
    | bad_batches.NOT_FINITE
    | {'guard.max_bad_steps': 3, 'optimizer.clip_norm': 0.0}
  )
  with pytest.raises(DivergedError) as error:
    loop.train(config, tmp_path, quiet=True)
  assert 'train/loss=nan at step 9: 3 steps in a row' in str(error.value)
  assert 'set optimizer.clip_norm (now 0, off)' in str(error.value)
  found = json.loads(Workdir(tmp_path).postmortem.read_text())
  assert found['step'] == 9
  assert [bad['step'] for bad in found['bad_steps']] == [7, 8, 9]
  assert found['bad_steps'][0]['first_sample'] == 48
  assert found['history'][0]['loss'] > 0 and found['history'][-1]['loss'] == 'nan'
  assert found['norms']['grad/embed/embedding'] == 'nan'
  assert found['norms']['param/embed/embedding'] > 0
  assert found['checkpoints'] == [4]


@pytest.mark.slow
def test_an_update_that_overflows_ends_the_run_by_its_name(tmp_path):
  config = tiny_runs.tiny_config(
    bad_batches.RUN
    | {'model.param_dtype': 'float16', 'optimizer.learning_rate': 1e6}
    | {'guard.max_bad_steps': 2}
  )
  with pytest.raises(DivergedError, match='not finite after the update at step 2'):
    loop.train(config, tmp_path, quiet=True)
  found = json.loads(Workdir(tmp_path).postmortem.read_text())
  assert found['history'][-1]['loss'] > 0 and found['history'][-1]['grad_norm'] > 0
  assert found['norms']['update/embed/embedding'] > 1e5
  first, second = bad_batches.events(tmp_path)
  assert first['kind'] == second['kind'] == 'not finite'


@pytest.mark.slow
def test_a_spike_is_skipped_and_a_resumed_run_skips_it_again(tmp_path, monkeypatch):
  bad_batches.serve_a_spike(monkeypatch)
  config = tiny_runs.tiny_config(bad_batches.SPIKES | {'guard.spikes': 'skip'})
  loop.train(config, tmp_path / 'uninterrupted', quiet=True)
  (event,) = bad_batches.events(tmp_path / 'uninterrupted')
  assert (event['kind'], event['step']) == ('spike', 12)
  assert event['loss'] > event['highest_loss'] > 0

  tiny_runs.train_until_crash(config, tmp_path / 'resumed', 13)
  loop.train(config, tmp_path / 'resumed', quiet=True)
  assert bad_batches.events(tmp_path / 'resumed') == bad_batches.events(
    tmp_path / 'uninterrupted'
  )
  assert tiny_runs.lines(tmp_path / 'resumed') == tiny_runs.lines(
    tmp_path / 'uninterrupted'
  )
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(tmp_path / 'resumed'),
    tiny_runs.saved_arrays(tmp_path / 'uninterrupted'),
  )


@pytest.mark.slow
def test_another_spike_window_begins_anew_on_request_only(tmp_path, monkeypatch):
  bad_batches.serve_a_spike(monkeypatch)
  overrides = bad_batches.SPIKES | {'guard.spikes': 'skip', 'train.steps': 2}
  loop.train(tiny_runs.tiny_config(overrides), tmp_path, quiet=True)
  wider = tiny_runs.tiny_config(overrides | {'guard.spike_window': 9, 'train.steps': 3})
  with pytest.raises(CheckpointError, match='guard.spike_window: 8 -> 9'):
    loop.train(wider, tmp_path, quiet=True)
  loop.train(wider, tmp_path, quiet=True, allow_changes=True)
  assert tiny_runs.saved_arrays(tmp_path)["['window']['count']"] == 1


@pytest.mark.slow
def test_used_up_rollbacks_end_the_run_with_a_post_mortem(tmp_path, monkeypatch):
  # The samples of step 12, and after a rollback to step 8 those of step 13.
  bad_batches.serve(monkeypatch, lambda n: None if 88 <= n <= 95 or n >= 136 else 3)
  overrides = {'guard.spikes': 'rollback', 'guard.max_rollbacks': 1}
  config = tiny_runs.tiny_config(bad_batches.SPIKES | overrides)
  with pytest.raises(DivergedError, match='after 1 rollbacks') as error:
    loop.train(config, tmp_path, quiet=True)
  found = json.loads(Workdir(tmp_path).postmortem.read_text())
  assert (found['step'], found['checkpoints'][-1]) == (13, 12)
  assert found['bad_steps'][0]['first_sample'] == 136
  assert found['history'][-1]['loss'] > 1 and found['history'][-1]['skipped']
  assert found['norms']['param/embed/embedding'] > 0
  assert [event['kind'] for event in bad_batches.events(tmp_path)] == [
    'rollback',
    'spike',
  ]
  for part in ('postmortem.json', 'optimizer.learning_rate', 'guard.max_rollbacks'):
    assert part in str(error.value)
