"""A run from start to end: what it leaves, what it measures, and how it fails."""

import json

import jax
import numpy as np
import pytest

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError, DivergedError, StorageError
from gpt_jax.tracking import metrics_file
from gpt_jax.train import hooks, loop
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


def test_a_run_leaves_all_that_its_folder_promises(finished_run):
  workdir = Workdir(finished_run)
  for path in (workdir.config, workdir.run, workdir.metrics, workdir.eval):
    assert path.stat().st_size, path
  assert (workdir.figures / 'loss.png').read_bytes().startswith(b'\x89PNG')
  assert list(workdir.tensorboard.glob('events.*'))
  assert (workdir.tokenizer / 'definition.json').exists()
  with CheckpointReader(workdir.checkpoints) as store:
    assert store.steps() == [3, 6]
    assert store.items(6) == ['ema', 'params', 'train']
  assert not (finished_run / 'wandb').exists()  # off unless asked for


def test_samples_continue_the_prompts_of_the_config(finished_run):
  text = Workdir(finished_run).samples.read_text()
  assert text.startswith('## Step 6\n\n```text\nsome words')


def test_provenance_says_what_ran_where(finished_run):
  (start,) = provenance.read_starts(Workdir(finished_run))
  assert start['step'] == 0
  assert start['mesh']['data'] == 8
  assert start['data']['data']['data.source'] == 'text'
  assert start['versions']['jax'] == jax.__version__


def test_the_saved_config_is_the_resolved_one(finished_run):
  saved = Workdir(finished_run).read_config()
  assert saved['model']['vocab_size'] == 257
  assert saved['model']['d_ff'] == 128
  assert saved['data']['seed'] == saved['seed']
  load.resolve(saved)


def test_steps_are_recorded_once_and_when_due(finished_run):
  steps = list(tiny_runs.losses(finished_run))
  # The first, every second, the last; 3 for its norms.
  assert steps == [1, 2, 3, 4, 6]
  evaluated = [r for r in tiny_runs.lines(finished_run) if 'validation/loss' in r]
  assert [r['step'] for r in evaluated] == [3, 6]


def test_only_the_first_line_has_the_compile_time(finished_run):
  lines = metrics_file.read_lines(Workdir(finished_run).metrics)
  found = [line for line in lines if 'train/compile_seconds' in line]
  assert [line['step'] for line in found] == [1]
  assert found[0]['train/compile_seconds'] > 0
  assert found[0]['train/compile_cache_hit'] in (0, 1)


def test_a_line_has_the_metrics_of_its_own_step(finished_run):
  last = [r for r in tiny_runs.lines(finished_run) if 'train/loss' in r][-1]
  assert last['tokens'] == 6 * 8 * 16
  assert last['train/targets'] == 8 * 16
  assert last['train/learning_rate'] == pytest.approx(0.01)


def test_norms_come_for_each_layer_when_they_are_due(finished_run):
  with_norms = [r for r in tiny_runs.lines(finished_run) if 'grad/embed/embedding' in r]
  assert [r['step'] for r in with_norms] == [3, 6]
  kernel = 'layers/block_0/mlp/up/kernel'
  for kind in ('param', 'grad', 'update'):
    assert with_norms[0][f'{kind}/{kernel}/0'] != with_norms[0][f'{kind}/{kernel}/1']


def test_the_last_evaluation_is_kept_beside_its_step(finished_run):
  result = json.loads(Workdir(finished_run).eval.read_text())
  assert result['step'] == 6
  last = [r for r in tiny_runs.lines(finished_run) if 'validation/loss' in r][-1]
  for name, value in result['validation'].items():
    assert last[f'validation/{name}'] == value


def test_a_finished_run_is_left_as_it_is(finished_run, tmp_path):
  workdir = tmp_path / 'copy'
  tiny_runs.copy(finished_run, workdir)
  before = tiny_runs.lines(workdir)
  config = load.resolve(Workdir(workdir).read_config())
  scores = loop.train(config, workdir, quiet=True)
  kept = Workdir(finished_run).eval.read_text()
  assert Workdir(workdir).eval.read_text() == kept
  assert scores['validation/loss'] == json.loads(kept)['validation']['loss']
  assert tiny_runs.lines(workdir) == before
  assert tiny_runs.start_steps(workdir) == [0, 6]


def test_the_loss_falls_to_the_entropy_and_not_below(tmp_path):
  # The uniform language: nothing to learn but that there is nothing. A loss below ln V
  # by more than chance would mean that targets leak into inputs.
  uniform = {
    'data.source': 'uniform',
    'data.generator.vocab_size': 8,
    'train.steps': 60,
    'train.batch_size': 16,
    'logging.every_steps': 10,
    'eval.every_steps': 0,
    'checkpoint.every_steps': 0,
    'schedule.name': 'cosine',
  }
  scores = loop.train(tiny_runs.tiny_config(uniform), tmp_path, quiet=True)
  assert scores['validation/entropy'] == pytest.approx(np.log(8))
  assert scores['validation/excess'] == pytest.approx(
    scores['validation/loss'] - np.log(8)
  )
  # The spread of a token's cost under a nearly right model is small; 3 sigma of the
  # mean over the split are well below this.
  assert -0.01 < scores['validation/excess'] < 0.05
  assert tiny_runs.losses(tmp_path)[1] > np.log(8) + 0.02


@pytest.mark.slow
def test_a_markov_language_is_learned_down_to_its_floor(tmp_path):
  easy = {
    'data.generator.order': 1,
    'data.generator.vocab_size': 8,
    'train.steps': 150,
    'train.batch_size': 32,
    'logging.every_steps': 50,
    'eval.every_steps': 0,
    'checkpoint.every_steps': 0,
    'schedule.name': 'cosine',
  }
  scores = loop.train(tiny_runs.tiny_config(easy), tmp_path, quiet=True)
  # A token in 16 is predicted without the one before it: about 0.08 nats are left.
  assert -0.02 < scores['validation/excess'] < 0.15
  assert scores['validation/loss'] < 0.7 * np.log(8)


HOT = {
  'model.norm': 'layernorm',  # inf - inf: RMSNorm would turn overflow into zeros
  'optimizer.name': 'sgd',
  'optimizer.learning_rate': 1e30,
  'optimizer.clip_norm': 0.0,
  'logging.every_steps': 100,
  'checkpoint.every_steps': 2,
}


@pytest.mark.slow
def test_a_diverged_run_ends_and_saves_nothing_bad(tmp_path):
  with pytest.raises(DivergedError, match=r'train/\w+=nan at step \d.*learning_rate'):
    loop.train(tiny_runs.tiny_config(HOT), tmp_path, quiet=True)
  with CheckpointReader(tmp_path / 'checkpoints') as store:
    assert store.steps() == []


@pytest.mark.slow
def test_a_run_that_saved_nothing_may_change_its_config(tmp_path):
  with pytest.raises(DivergedError):
    loop.train(tiny_runs.tiny_config(HOT), tmp_path, quiet=True)
  loop.train(tiny_runs.tiny_config(), tmp_path, quiet=True)
  assert sorted(tiny_runs.losses(tmp_path)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_checkpoint_is_ranked_by_metrics_of_its_own_state(tmp_path):
  apart = {'eval.every_steps': 4, 'checkpoint.every_steps': 2}
  loop.train(tiny_runs.tiny_config(apart), tmp_path, quiet=True)
  with CheckpointReader(tmp_path / 'checkpoints', 'validation/loss') as store:
    assert store.read_metrics(2) == {}
    assert store.read_metrics(4)['validation/loss'] > 0
    assert store.best_step() in (4, 6)


def test_an_interrupted_run_has_closed_what_it_opened(tmp_path, monkeypatch):
  def interrupt(session, progress):
    raise KeyboardInterrupt

  profiler = []
  monkeypatch.setattr(jax.profiler, 'start_trace', lambda _: profiler.append('start'))
  monkeypatch.setattr(jax.profiler, 'stop_trace', lambda: profiler.append('stop'))
  tiny_runs.after_step(monkeypatch, 4, interrupt)
  profile = {'logging.profile_start_step': 3, 'logging.profile_steps': 9}
  with pytest.raises(KeyboardInterrupt):
    loop.train(tiny_runs.tiny_config(profile), tmp_path, quiet=True)
  assert profiler == ['start', 'stop']
  with CheckpointReader(tmp_path / 'checkpoints') as store:
    assert store.steps() == [3]


@pytest.mark.slow
def test_masked_models_write_no_samples(tmp_path):
  masked = {'objective.name': 'masked_lm', 'train.steps': 2}
  scores = loop.train(tiny_runs.tiny_config(masked), tmp_path, quiet=True)
  assert not Workdir(tmp_path).samples.exists()
  assert 'validation/bits_per_byte' not in scores


@pytest.mark.parametrize(
  'overrides, error, expected',
  [
    ({'data.source': 'text', 'data.path': 'no/such.txt'}, DataError, 'no/such.txt'),
    ({'data.seq_len': 10**6}, DataError, 'data.seq_len=1000000: longer than the data'),
    ({'train.batch_size': 7}, ConfigError, 'do not divide over 8 data shards'),
  ],
)
def test_mistakes_show_before_the_first_step(overrides, error, expected, tmp_path):
  with pytest.raises(error, match=expected):
    loop.train(tiny_runs.tiny_config(overrides), tmp_path, quiet=True)
  assert not Workdir(tmp_path).metrics.exists()


def test_a_file_in_the_place_of_the_workdir_is_a_storage_error(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(StorageError, match='cannot write in'):
    loop.train(tiny_runs.tiny_config(), tmp_path / 'file', quiet=True)


@pytest.mark.slow
def test_a_hook_may_end_a_run_which_then_continues_as_if_not(plain_run, tmp_path):
  config = tiny_runs.tiny_config()
  whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
  tiny_runs.copy(plain_run, whole)
  expected = loop.train(config, whole, quiet=True)  # ended: it returns its scores

  def stop(session, progress):
    progress.stop_reason = 'no better for 1 evaluation'

  # At step 4: neither scored nor saved by the hooks of every run. At 6: the end anyway.
  stops = [hooks.At((4, 6), stop)]
  shared = {'open_program': tiny_runs.open_shared}
  scores = loop.train(config, stopped, quiet=True, extra_hooks=stops, **shared)
  (event,) = provenance.read_events(Workdir(stopped))
  assert event == dict(kind='stopped', step=4, reason='no better for 1 evaluation')
  assert json.loads(Workdir(stopped).eval.read_text())['step'] == 4
  assert scores['validation/loss'] != expected['validation/loss']
  assert loop.train(config, stopped, quiet=True, extra_hooks=stops) == expected
  assert provenance.read_events(Workdir(stopped)) == [event]
  assert tiny_runs.start_steps(stopped) == [0, 4]
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(stopped, 6), tiny_runs.saved_arrays(whole, 6)
  )
