"""What one run has found, also where it has diverged or was scored again."""

import math

import pytest

from gpt_jax.analysis import rules
from gpt_jax.analysis.results import Results
from gpt_jax.core.errors import ConfigError
from gpt_jax.workdir.paths import Workdir
from tests.sweeps import fake_study

LOSS = 'validation/loss'


def test_costs_are_metrics_of_every_result(tmp_path):
  (one, *_) = Results(fake_study.make(tmp_path, lambda point: 1.0))
  assert one.value('seconds') == pytest.approx(60)
  assert one.value('tokens') == 6 * 128
  assert one.value(lambda result: 2 * result.value('tokens')) == 2 * 6 * 128


@pytest.mark.parametrize(
  'look, hint',
  [
    (lambda one: one.value('validation/los'), "mean 'validation/loss'"),
    (lambda one: one.curve('valid/loss'), "mean 'validation/loss'"),
    (lambda one: one.curve(LOSS, x='time'), 'one of step, tokens, seconds'),
  ],
)
def test_wrong_names_are_errors_with_the_nearest(tmp_path, look, hint):
  (one, *_) = Results(fake_study.make(tmp_path, lambda point: 1.0))
  with pytest.raises(ConfigError, match=hint):
    look(one)


@pytest.mark.parametrize('higher, worst', [(False, math.inf), (True, -math.inf)])
def test_a_run_that_has_diverged_is_the_worst(tmp_path, higher, worst):
  study = fake_study.make(tmp_path, lambda p: 1.0, higher_is_better=higher)
  for point in study.points[3:]:
    fake_study.diverge(point)
  results = Results(study)
  assert results.where(row='ours').mean(LOSS) == worst
  assert results.where(row='base').mean(LOSS) == 1.0
  assert results.missing == ()
  one = next(iter(results.where(row='ours')))
  assert one.value('parameters') > 0
  # Whether high or low would be good there is not known: no number, no claim.
  assert math.isnan(one.value(lambda result: 1 / 0))
  assert math.isnan(one.value('validation/accuracy'))
  for rule in (rules.above, rules.below):
    check = rule(0.5, 'ours', metric='validation/accuracy')
    assert not check(results).holds


def test_an_evaluation_made_later_changes_no_result(tmp_path):
  study = fake_study.make(tmp_path, lambda p: 1.0)
  workdir = Workdir(study.points[0].workdir)
  workdir.eval.write_text('{"step": 3, "validation": {"loss": 0.5}}')
  results = Results(study)
  assert results.missing == ()
  assert {one.value(LOSS) for one in results} == {1.0}


def test_a_last_score_that_is_no_number_is_nan(tmp_path):
  study = fake_study.make(tmp_path, lambda p: 1.0)
  metrics = Workdir(study.points[0].workdir).metrics
  metrics.write_text(metrics.read_text() + '{"step": 6, "validation/loss": null}\n')
  assert math.isnan(next(iter(Results(study))).value(LOSS))
