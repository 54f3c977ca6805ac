"""Scores of a run after the fact: those of training, on any set, beside baselines."""

import json
import shutil
import types

import numpy as np
import pytest

from gpt_jax.core.errors import CheckpointError, ConfigError, note_once
from gpt_jax.data.token_cache import TokenStore
from gpt_jax.train import loop, score_run
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


@pytest.fixture(scope='module')
def report(finished_run):
  return score_run.score_run(finished_run, with_baselines=True)


def test_a_run_scores_as_it_did_at_its_end(report, finished_run):
  kept = json.loads(Workdir(finished_run).eval.read_text())
  assert report.step == kept['step'] == 6
  assert report.sets == {'validation': pytest.approx(kept['validation'])}
  assert report.flat()['validation/loss'] == report.sets['validation']['loss']


def test_the_batch_size_changes_no_metric(report, finished_run):
  other = score_run.score_run(finished_run, {'eval.batch_size': '24'})
  assert other.sets['validation'] == pytest.approx(report.sets['validation'], rel=1e-5)


def test_bits_per_byte_count_the_bytes_of_the_split(report, text_file):
  # The last half of the last tenth of the file; its first byte is nobody's target, and
  # the end token that stands after it is no byte.
  text = text_file.read_bytes()
  split = text[int(len(text) * 0.9) : int(len(text) * 0.95)]
  metrics = report.sets['validation']
  assert metrics['tokens'] == len(split)
  nats = metrics['loss'] * metrics['tokens']
  expected = nats / 0.6931471805599453 / (len(split) - 1)
  assert metrics['bits_per_byte'] == pytest.approx(expected)


def test_baselines_and_the_model_are_ranked_best_first(report):
  rows = report.baselines['validation']
  names = [name for name, *_ in rows]
  assert {'this model', 'uniform', '1-gram', '2-gram', 'bz2'} <= set(names)
  nats = [float(value) for _, value, _ in rows]
  assert nats == sorted(nats)
  own = dict((name, value) for name, value, _ in rows)['this model']
  assert float(own) == pytest.approx(report.sets['validation']['loss'], abs=1e-4)


class Text:
  """A dataset of one store, `seq_len` 4, whose tokens are their places."""

  num_tokens, stores = 1001, {'': TokenStore(np.arange(1001), np.array([0, 1001]))}

  def __len__(self):
    return 250

  def spans(self, n):
    return '', [(4 * n, 4 * n + 5)]


@pytest.mark.parametrize(
  'max_batches, limit, train, scored',
  [(0, 0, 1001, 1001), (5, 0, 1001, 41), (0, 300, 300, 300), (5, 300, 300, 41)],
)
def test_baselines_read_no_more_than_is_said(max_batches, limit, train, scored, capsys):
  note_once.cache_clear()
  cfg = types.SimpleNamespace(max_batches=max_batches, batch_size=2)
  train_N, eval_N = score_run.baseline_text(Text(), Text(), cfg, limit)
  assert (len(train_N), len(eval_N)) == (train, scored)
  assert eval_N.tolist() == list(range(scored))
  stretches = np.split(train_N, np.flatnonzero(np.diff(train_N) != 1) + 1)
  assert train_N[0] == 0 and train_N[-1] == 1000
  assert len(stretches) == (1 if train == 1001 else score_run.NUM_STRETCHES)
  said = capsys.readouterr().err
  assert (f'learn from {train} of 1,001' in said) == (train < 1001)
  assert (f'are scored on {scored} of 1,001' in said) == (scored < 1001)


def test_an_earlier_step_can_be_scored(report, finished_run):
  earlier = score_run.score_run(finished_run, step=3)
  assert earlier.step == 3
  assert earlier.sets['validation']['loss'] > report.sets['validation']['loss']
  with pytest.raises(CheckpointError, match=r'no checkpoint of step 4.*\[3, 6\]'):
    score_run.score_run(finished_run, step=4)


def test_other_sets_can_be_scored(finished_run):
  sets = {'test': {'split': 'test'}, 'train': {'split': 'train'}}
  other = score_run.score_run(finished_run, {'eval.sets': sets, 'eval.max_batches': 1})
  assert other.sets.keys() == {'test', 'train'}


def test_a_run_of_many_devices_is_scored_on_those_that_are_here(finished_run, tmp_path):
  tiny_runs.copy(finished_run, tmp_path / 'run')
  saved = Workdir(finished_run).read_config()
  saved['parallel']['mesh'] |= {'data': 4, 'fsdp': 16}
  Workdir(tmp_path / 'run').config.write_text(json.dumps(saved))
  here = score_run.score_run(tmp_path / 'run', {'eval.max_batches': 1})
  assert here.sets['validation']['tokens'] > 0


def test_baselines_are_refused_where_targets_are_not_the_text(finished_run):
  overrides = {'objective.name': 'masked_lm', 'data.path': 'not/even/looked/at'}
  with pytest.raises(ConfigError, match="--baselines: .*objective.name='masked_lm'"):
    score_run.score_run(finished_run, overrides, with_baselines=True)


def test_baselines_are_refused_where_some_tokens_bear_no_loss(finished_run):
  overrides = {
    'data.source': 'jsonl',
    'data.prompt_field': 'question',
    'data.response_field': 'answer',
  }
  assert not score_run.has_baselines(tiny_runs.tiny_config(overrides))
  with pytest.raises(ConfigError, match='--baselines: .*, tokens without loss'):
    score_run.score_run(finished_run, overrides, with_baselines=True)


def test_ids_of_a_synthetic_language_have_no_bits_per_byte(tmp_path):
  rows = score_run._bits(score_run.baselines.Baseline('uniform', 1.0, float('inf')))
  assert rows == '-'


def test_a_tokenizer_unlike_the_checkpoint_is_refused(finished_run, tmp_path):
  tiny_runs.copy(finished_run, tmp_path / 'run')
  definition = tmp_path / 'run' / 'tokenizer' / 'definition.json'
  definition.write_text(json.dumps({'name': 'char', 'characters': ' abcdefghijklmno'}))
  with pytest.raises(ConfigError, match="tokenizer.name: 'char' -> 'byte'"):
    score_run.score_run(tmp_path / 'run')
  definition.write_text(json.dumps({'name': 'ids', 'vocab_size': 257}))
  with pytest.raises((CheckpointError, ConfigError), match='tokenizer'):
    score_run.score_run(tmp_path / 'run')


def test_a_vocabulary_unlike_the_checkpoint_is_refused(finished_run):
  with pytest.raises(CheckpointError, match=r'saved float32\[257, 32\], wanted'):
    score_run.score_run(finished_run, {'model.vocab_size': 300})


def test_a_folder_without_checkpoints_is_no_finished_run(finished_run, tmp_path):
  shutil.copy(Workdir(finished_run).config, tmp_path)
  with pytest.raises(CheckpointError, match='holds no checkpoint'):
    score_run.score_run(tmp_path)
  assert not (tmp_path / 'checkpoints').exists()


@pytest.mark.slow
def test_less_depth_scores_as_the_exit_of_the_whole_model(tmp_path):
  overrides = {'objective.name': 'layer_skip', 'model.num_layers': 2}
  config = tiny_runs.tiny_config(overrides)
  loop.train(config, str(tmp_path / 'run'), quiet=True)
  whole = score_run.score_run(tmp_path / 'run').sets['validation']
  first = score_run.score_run(tmp_path / 'run', {'inference.depth': 1})
  assert first.sets['validation']['loss'] == pytest.approx(whole['loss_at_layer_1'])
  assert whole['loss'] != pytest.approx(whole['loss_at_layer_1'], rel=1e-3)
