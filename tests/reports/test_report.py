"""Reports: one object with everything that a study has found."""

import dataclasses
import time

import pytest

from gpt_jax.analysis import rules, verdict_log
from gpt_jax.reports.report import _machine, make_report
from gpt_jax.sweeps import Claim, FromRow, Outcome, algebra, states
from tests.sweeps import fake_study

LOSSES = {'base': 2.0, 'ours': 1.5}


def ours_is_lower(results):
  base, ours = (results.where(row=row).mean('validation/loss') for row in LOSSES)
  return Outcome(base > ours, {'difference': base - ours})


CLAIM = Claim(
  'lower', 'Ours is lower.', 'nowhere', 'ordering', 'C', 'mean', rule=ours_is_lower
)


def loss_of(point):
  return LOSSES[point.row] + 0.1 * point.axes['seed']


def test_a_report_of_a_finished_study_has_all_its_parts(tmp_path):
  study = fake_study.make(tmp_path, loss_of, claims=(CLAIM,))
  report = make_report(study)
  assert report.title == 'Does the fake method help?'
  assert report.is_complete
  assert report.num_points == 6
  assert report.wall_seconds == 60  # all at once
  assert report.commits == ('c0ffeec0ffee',)
  assert report.differences == {'ours': (('optimizer.weight_decay', 0.1, 0.5),)}
  assert [line.row for line in report.table.lines] == ['base', 'ours']


def test_a_run_that_is_started_from_goes_by_its_row(tmp_path):
  rows = {'base': {}, 'more': {'init_from': FromRow('base')}}
  report = make_report(fake_study.make(tmp_path, rows=rows))
  assert report.differences == {'more': (('init_from', '', 'row base'),)}


def test_points_of_another_config_are_told_and_the_old_verdict(tmp_path):
  study = fake_study.make(tmp_path, loss_of, claims=(CLAIM,))
  verdict_log.record(study, make_report(study).verdicts)
  overrides = fake_study.experiment().overrides | {'train.steps': 8}
  report = make_report(fake_study.make(tmp_path, claims=(CLAIM,), overrides=overrides))
  assert {state.kind for state in report.states.values()} == {states.CHANGED}
  text = '6 points ran with another config: train.steps 6 -> 8'
  assert report.changed == (text,)
  (verdict,) = report.verdicts
  assert verdict.verdict == 'not enough data'
  assert 'ran with another config: train.steps 6 -> 8.' in verdict.note
  assert [entry['verdict'] for entry in report.earlier] == ['reproduced']


def test_what_varies_within_a_row_is_no_difference_of_rows(tmp_path):
  sweep = algebra.chain(
    algebra.product(algebra.rows('base'), algebra.vary('optimizer.b2', 0.9)),
    algebra.product(
      algebra.rows('ours'),
      algebra.zipped(
        algebra.vary('train.steps', 6, 8), algebra.vary('logging.every_steps', 1, 2)
      ),
    ),
  )
  rows = {'base': {}, 'ours': {'optimizer.weight_decay': 0.5}}
  report = make_report(fake_study.make(tmp_path, rows=rows, sweep=sweep))
  assert report.differences == {'ours': (('optimizer.weight_decay', 0.1, 0.5),)}


@pytest.mark.parametrize(
  'start, text',
  [
    ({'cores': 2, 'devices': {'platform': 'cpu', 'count': 1}}, '2 cores, 1 JAX device'),
    ({'devices': {'platform': 'cpu', 'count': 2}}, '2 JAX devices on a CPU'),
    ({'devices': {'platform': 'tpu', 'kind': 'TPU v5p', 'count': 4}}, '4 TPU v5p'),
  ],
)
def test_a_machine_has_cores_or_accelerators(start, text):
  assert _machine({'hostname': 'a'} | start) == f'a: {text}'


def test_a_report_of_nothing_has_all_points_missing(tmp_path):
  report = make_report(fake_study.make(tmp_path, claims=(CLAIM,)))
  assert len(report.missing) == report.num_points == 6
  assert report.verdicts[0].verdict == 'not enough data'
  assert report.table.lines[0].parameters is None


@pytest.mark.slow
def test_a_thousand_points_are_reported_in_seconds(tmp_path):
  rates = algebra.log_range('optimizer.learning_rate', 1e-4, 1e-1, 100)
  rule = rules.better('ours', 'base', at_best='optimizer.learning_rate')
  claim = dataclasses.replace(CLAIM, rule=rule)
  study = fake_study.make(
    tmp_path, loss_of, sweep=rates, seeds=range(5), claims=(claim,)
  )
  assert len(study.points) == 1000
  begin = time.monotonic()
  report = make_report(study)
  assert time.monotonic() - begin < 20  # 2.3 s of one core
  assert report.verdicts[0].verdict == 'reproduced'
