"""A trial is a run like any other, until a rung ends it."""

import math

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.search import search, trial_run
from gpt_jax.sweeps import states
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.search.search_experiment import open_search, write

pytest.importorskip('optuna', reason='needs gpt_jax[sweep]')


@pytest.mark.parametrize(
  'steps, num_rungs, expected', [(900, 2, (100, 300)), (10, 1, (3,)), (10, 0, ())]
)
def test_rungs_are_a_third_of_a_third_of_the_steps(steps, num_rungs, expected):
  config = tiny_runs.tiny_config({'train.steps': steps})
  assert trial_run.rung_steps(config, num_rungs, 3) == expected


def test_more_rungs_than_steps_are_refused():
  with pytest.raises(ConfigError, match='--rungs=2: a trial has 6 steps'):
    trial_run.rung_steps(tiny_runs.tiny_config(), 2, 3)


def test_a_metric_that_no_run_has_is_told_with_the_nearest(finished_run):
  with pytest.raises(ConfigError, match="mean 'validation/loss'"):
    workdir = Workdir(finished_run)
    trial_run.read_metric('validation/los', {'validation/loss': 1.0}, workdir)
  loss = trial_run.read_metric('train/loss', {}, Workdir(finished_run))
  assert loss == tiny_runs.losses(finished_run)[6]


class Judge:
  """A Reporter that finds the run bad at step `bad_at`."""

  def __init__(self, bad_at=0):
    self._bad_at, self.pruned_at, self.told = bad_at, 0, {}

  def is_bad(self, value, step):
    self.told[step] = value
    self.pruned_at = step if step == self._bad_at else 0
    return step == self._bad_at


@pytest.mark.slow
def test_a_pruned_trial_is_a_run_that_can_be_continued(tmp_path):
  found = open_search(tmp_path)
  point = found.point(0, {'optimizer.learning_rate': 0.01, 'schedule.warmup_steps': 2})
  judge, workdir = Judge(bad_at=6), Workdir(point.workdir)
  ended = trial_run.run_trial(point, judge, found.metric, found.rungs)
  assert (ended.kind, ended.step, ended.value) == (trial_run.PRUNED, 6, judge.told[6])
  assert list(judge.told) == [2, 6]
  assert provenance.read_events(workdir)[0]['kind'] == 'stopped'
  assert (workdir.checkpoints / '6').is_dir()
  assert 'stopped after step 6 of 18: pruned' in (
    (workdir.logs / 'sweep.log').read_text()
  )
  # Killed before the storage knew: no step is made again.
  assert trial_run.run_trial(point, judge, found.metric, found.rungs).step == 6
  ended = trial_run.run_trial(point, Judge(), found.metric, found.rungs)
  assert ended.kind == trial_run.COMPLETE and states.is_done(point)
  assert tiny_runs.start_steps(point.workdir) == [0, 6]
  assert ended.value == trial_run.read_metric(found.metric, {}, workdir)


def test_a_run_that_diverges_or_fails_is_an_end_of_its_trial(tmp_path, monkeypatch):
  found = open_search(tmp_path)
  point = found.point(0, {'optimizer.learning_rate': 0.1, 'schedule.warmup_steps': 0})
  reporter = search.Reporter(found, found.study.ask())

  def trained(result):
    def train(*args, **options):
      if isinstance(result, Exception):
        raise result
      return {'validation/loss': result}

    monkeypatch.setattr(trial_run.loop, 'train', train)
    return trial_run.run_trial(point, reporter, found.metric, found.rungs)

  diverged = trial_run.DivergedError('train/loss=nan at step 3')
  assert trained(diverged).kind == trial_run.DIVERGED
  assert trained(math.inf).kind == trial_run.DIVERGED
  failed = trained(RuntimeError('out of memory'))
  assert failed.kind == trial_run.FAILED and 'out of memory' in failed.why
  assert trained(2.5).value == 2.5


def test_a_mistyped_metric_is_told_before_the_search(tmp_path):
  path = write(tmp_path)
  path.write_text(
    path.read_text().replace("base='base',", "base='base', metric='validation/los',")
  )
  with pytest.raises(ConfigError, match="mean 'validation/loss'"):
    search.open_search(path, workdir=tmp_path / 'runs', num_trials=3)
  assert not (tmp_path / 'runs').exists()
