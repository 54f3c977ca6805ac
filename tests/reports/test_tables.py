"""The table of a study, its numbers recomputed."""

import numpy as np
import pytest
from scipy import stats

from gpt_jax.analysis.results import Results
from gpt_jax.core.errors import ConfigError
from gpt_jax.reports import tables
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

LOSSES = {
  'base': {0: 2.0, 1: 2.25, 2: 1.75},
  'ours': {0: 1.5, 1: 1.625, 2: 1.5},
}


def loss_of(point):
  return LOSSES[point.row][point.axes['seed']]


def table_of(folder, loss=loss_of, **fields):
  study = fake_study.make(folder, loss, **fields)
  return tables.make_table(study, Results(study))


def test_a_line_has_mean_spread_and_the_paired_test(tmp_path):
  base, ours = table_of(tmp_path).lines
  cell = ours.cells['validation/loss']
  values = list(LOSSES['ours'].values())
  assert cell.mean == pytest.approx(np.mean(values))
  assert cell.spread == pytest.approx(np.std(values, ddof=1))
  expected = stats.ttest_rel(values, list(LOSSES['base'].values()))
  assert ours.comparison.p_value == pytest.approx(expected.pvalue)
  assert ours.comparison.difference == pytest.approx(np.mean(values) - 2.0)
  assert base.comparison is None
  assert ours.seconds == pytest.approx(60)
  assert ours.parameters == base.parameters > 0


def test_missing_seeds_are_told(tmp_path):
  table = table_of(tmp_path, lambda p: None if p.name == 'ours,seed=1' else loss_of(p))
  base, ours = table.lines
  assert (base.seeds_text, ours.seeds_text) == ('3', '2 of 3')
  assert ours.cells['validation/loss'].mean == 1.5
  assert not ours.cells['validation/loss'].is_whole
  assert ours.comparison.num_seeds == 2


def test_each_value_of_an_axis_has_its_line_and_its_base(tmp_path):
  rates = algebra.vary('optimizer.learning_rate', 0.01, 0.1)
  table = table_of(
    tmp_path,
    lambda p: loss_of(p) * (1 + p.axes['optimizer.learning_rate']),
    sweep=rates,
    compare_to='ours',
  )
  assert table.axes == ('optimizer.learning_rate',)
  assert [(line.row, *line.axes.values()) for line in table.lines] == [
    ('base', 0.01), ('base', 0.1), ('ours', 0.01), ('ours', 0.1),
  ]  # fmt: skip
  shift = 2.0 - np.mean(list(LOSSES['ours'].values()))
  assert table.lines[1].comparison.difference == pytest.approx(1.1 * shift)
  assert table.lines[3].comparison is None


def test_each_row_has_a_line_at_its_own_best(tmp_path):
  best = {'base': 0.01, 'ours': 0.1}
  fields = dict(
    sweep=algebra.vary('optimizer.learning_rate', 0.01, 0.1),
    at_best=('optimizer.learning_rate',),
  )

  def loss(point):
    return loss_of(point) + (point.axes['optimizer.learning_rate'] != best[point.row])

  table = table_of(tmp_path / 'whole', loss, **fields)
  assert [line.axes for line in table.best.lines] == [
    {'optimizer.learning_rate': rate} for rate in best.values()
  ]
  expected = stats.ttest_rel(*(list(LOSSES[row].values()) for row in ('ours', 'base')))
  comparison = table.best.lines[1].comparison
  assert comparison.p_value == pytest.approx(expected.pvalue)
  assert table.best.lines[0].comparison is None

  part = table_of(
    tmp_path / 'part',
    lambda p: None if p.name == 'ours,learning_rate=0.1,seed=1' else loss(p),
    **fields,
  )
  assert [line.row for line in part.best.lines] == ['base']


def test_an_axis_that_a_size_does_not_vary_has_no_best(tmp_path):
  table = table_of(tmp_path, at_best=('optimizer.learning_rate',))
  assert table.lines
  assert table.best is None


def test_columns_may_be_functions_of_a_result(tmp_path):
  columns = {'twice': lambda result: 2 * result.value('validation/loss')}
  table = table_of(tmp_path, columns=columns)
  assert table.headings == ('validation/loss', 'twice')
  assert table.lines[0].cells['twice'].mean == 4.0


def test_a_column_that_no_point_has_names_the_nearest(tmp_path):
  with pytest.raises(ConfigError, match="columns.'x'.*mean 'validation/loss'"):
    table_of(tmp_path, columns={'x': 'validation/lss'})


def test_a_column_that_fails_is_named(tmp_path):
  with pytest.raises(ConfigError, match="columns.'bad'.: raises ZeroDivisionError"):
    table_of(tmp_path, columns={'bad': lambda result: 1 / 0})


@pytest.mark.parametrize(
  'values, digits',
  [
    ([{0: 1.0, 1: 1.02}], 3),  # spread 0.014
    ([{0: 100.0, 1: 130.0}], 0),  # spread 21
    ([{0: 0.123456}], 4),
    ([{0: 1234.5}], 0),
    ([], 4),
  ],
)
def test_digits_follow_from_the_spread(values, digits):
  from gpt_jax.analysis.seed_statistics import Summary

  assert tables.digits_of([Summary(v, len(v)) for v in values]) == digits
