"""What a training would begin with is scored as a run with those parameters is."""

import json

import pytest

from gpt_jax import cli
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.train import score_run, score_start
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


@pytest.fixture
def start(plain_run):
  """Returns overrides of a run that would begin where `plain_run` ended."""
  lengths = {'train.steps': None, 'train.epochs': 2.0}
  return lengths | {'init_from': str(plain_run), 'init.model': 'keep'}


def test_parameters_of_a_run_score_as_they_did_there(start, plain_run, tmp_path):
  config = tiny_runs.tiny_config(start)
  report = score_start.score_start(config, tmp_path / 'before', with_baselines=True)
  kept = json.loads(Workdir(plain_run).eval.read_text())['validation']
  assert report.step == 0
  assert report.sets['validation'] == pytest.approx(kept, rel=1e-5)
  assert '1-gram' in [name for name, *_ in report.baselines['validation']]
  assert not Workdir(tmp_path / 'before').checkpoints.exists()


def test_its_folder_holds_no_run_to_score(start, tmp_path):
  score_start.score_start(tiny_runs.tiny_config(start), tmp_path)
  with pytest.raises(CheckpointError, match='give that command again'):
    score_run.score_run(tmp_path)


def test_a_training_is_not_scored_by_another_config(start, plain_run):
  config = tiny_runs.tiny_config(start)
  with pytest.raises(ConfigError, match='leave --config out to score it'):
    score_start.score_start(config, plain_run)


@pytest.mark.parametrize('flag', ['--step=3', '--tasks=piqa', '--ensemble=runs/other'])
def test_flags_of_runs_do_not_go_with_a_config(flag, tmp_path, capsys):
  name = flag.partition('=')[0]
  command = ['eval', '--config=configs/tiny.py', f'--workdir={tmp_path}', flag]
  assert cli.main(command) == 2
  assert name in capsys.readouterr().err
