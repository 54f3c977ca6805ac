"""gpt-jax eval --tasks=bias shows and saves the score of a run."""

import argparse
import json

import pytest

from gpt_jax import cli
from gpt_jax.commands import eval_bias
from gpt_jax.core.errors import ConfigError
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


@pytest.mark.slow
def test_the_score_is_shown_and_saved(finished_run, tmp_path, capsys):
  run = tmp_path / 'run'
  tiny_runs.copy(finished_run, run)
  assert cli.main(['eval', '--tasks=bias_en', f'--workdir={run}', '--limit=4']) == 0
  assert 'bias_en_gender' in capsys.readouterr().out
  saved = json.loads((run / 'tasks.json').read_text())['tasks']
  assert saved['bias_en_all']['questions'] > 0
  assert 0 <= saved['bias_en_age']['stereotyped'] <= 1


def test_what_was_judged_can_be_read(tmp_path, capsys):
  rows = [dict(text='它很好', probability=0.9), dict(text='b', probability=0.1)]
  eval_bias.save(Workdir(tmp_path), {'toxicity_zh': rows})
  path = tmp_path / 'predictions' / 'toxicity_zh.jsonl'
  assert [json.loads(line) for line in path.read_text().splitlines()] == rows
  assert str(path) in capsys.readouterr().out


def test_a_classifier_without_the_task_is_refused():
  args = argparse.Namespace(toxicity_classifier='runs/x', toxicity_class='toxic')
  with pytest.raises(ConfigError, match='goes with --tasks=bias'):
    eval_bias.open_classifier(args, eval_bias.languages(['piqa']))
  assert eval_bias.languages(['bias', 'bias_zh']) == ['en', 'zh']
