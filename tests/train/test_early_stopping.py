"""Early stopping: when a run ends, and that it stays ended."""

import dataclasses
import json
import math

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.train import early_stopping, loop
from gpt_jax.train.early_stopping import Watched
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

STOPPING = {'early_stopping.patience': 2, 'eval.every_steps': 1, 'train.steps': 9}


def watch(values, sign=-1, min_delta=0.0):
  watched = Watched()
  for step, value in enumerate(values, start=1):
    watched = watched.after(value, step, sign, min_delta)
  return watched


def test_lower_and_higher_may_be_better():
  assert watch([3.0, 2.0, 2.5]) == Watched(2.0, 2, 1)
  assert watch([3.0, 2.0, 2.5], sign=1) == Watched(3.0, 1, 2)


def test_an_improvement_below_min_delta_is_none():
  assert watch([1.0, 0.95, 0.88], min_delta=0.1) == Watched(0.88, 3, 0)
  assert watch([1.0, 0.95, 0.91], min_delta=0.1) == Watched(1.0, 1, 2)


def test_a_metric_that_is_not_finite_is_no_improvement():
  assert watch([math.nan, 1.0, math.nan, math.inf]) == Watched(1.0, 2, 2)


def stopped_config(overrides=None):
  # A rate of 0 improves nothing: the second evaluation after the first ends the run.
  still = {'optimizer.learning_rate': 1e-30}
  return tiny_runs.tiny_config(STOPPING | still | (overrides or {}))


def test_a_run_ends_once_patience_is_over(tmp_path, capsys):
  loop.train(stopped_config(), tmp_path)
  (event,) = provenance.read_events(Workdir(tmp_path))
  assert (event['kind'], event['step']) == ('stopped', 3)
  assert 'validation/loss (min) has not improved for 2 evaluations' in event['reason']
  loop.train(stopped_config(), tmp_path)  # the same command again
  assert 'ended before, after step 3' in capsys.readouterr().out
  assert len(provenance.read_events(Workdir(tmp_path))) == 1


@pytest.mark.slow
def test_more_patience_continues_an_ended_run(tmp_path):
  loop.train(stopped_config(), tmp_path, quiet=True)
  more = stopped_config({'early_stopping.patience': 4})
  loop.train(more, tmp_path, quiet=True)
  steps = [event['step'] for event in provenance.read_events(Workdir(tmp_path))]
  assert steps == [3, 5]


def test_a_resumed_run_remembers_what_it_has_watched(tmp_path):
  config = stopped_config()
  two = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=2))
  loop.train(two, tmp_path, quiet=True)
  loop.train(config, tmp_path, quiet=True)
  last = provenance.read_events(Workdir(tmp_path))[-1]
  assert (last['kind'], last['step']) == ('stopped', 3)


def test_an_unknown_metric_lists_those_there_are(tmp_path):
  config = stopped_config({'early_stopping.metric': 'validation/acuracy'})
  with pytest.raises(ConfigError, match='did you mean .validation/accuracy'):
    loop.train(config, tmp_path, quiet=True)


@pytest.mark.slow
def test_the_best_step_is_kept_when_higher_is_better(tmp_path):
  overrides = {
    'checkpoint.best_metric': 'validation/accuracy',
    'checkpoint.best_mode': 'max',
    'checkpoint.keep_last': 1,
    'checkpoint.every_steps': 1,
    'eval.every_steps': 1,
  }
  loop.train(tiny_runs.tiny_config(overrides), tmp_path, quiet=True)
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  found = {
    one['step']: one['validation/accuracy']
    for one in records
    if 'validation/accuracy' in one
  }
  best = max(found, key=lambda step: (found[step], step))
  kept = {int(path.name) for path in (tmp_path / 'checkpoints').iterdir()
          if path.name.isdigit()}  # fmt: skip
  assert best in kept
  assert early_stopping.metric_of(tiny_runs.tiny_config(overrides))[1] == 'max'
