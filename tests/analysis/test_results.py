"""Results of a study: selection, seeds, curves, and names that do not exist."""

import math

import numpy as np
import pytest

from gpt_jax.analysis.results import NotEnoughData, Results, best_of
from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

RATES = algebra.vary('optimizer.learning_rate', 0.001, 0.01, 0.1)
LOSS = 'validation/loss'


def loss_of(point):
  rate = point.axes['optimizer.learning_rate']
  best = {'base': 0.001, 'ours': 0.01}[point.row]
  return (
    abs(math.log10(rate / best)) + 0.25 * point.axes['seed'] + (point.row == 'base')
  )


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  folder = tmp_path_factory.mktemp('results')
  return Results(fake_study.make(folder, loss_of, sweep=RATES, seeds=(3, 4)))


def test_a_part_is_chosen_by_row_and_fields(results):
  part = results.where(row='ours', optimizer__learning_rate=0.1)
  assert part.by_seed(LOSS) == {3: 1.75, 4: 2.0}
  assert part.mean(LOSS) == 1.875
  assert len(results) == 12
  # A field that rows set, and no axis.
  assert results.where(optimizer__weight_decay=0.5).axis('row') == ['ours']


def test_several_points_of_a_seed_are_an_error(results):
  with pytest.raises(ConfigError, match=r'where\(optimizer__learning_rate=...\)'):
    results.where(row='ours').mean(LOSS)
  with pytest.raises(ConfigError, match='row: base, ours'):
    results.where(optimizer__learning_rate=0.1).by_seed(LOSS)


def test_each_row_is_taken_at_its_own_best_value(results):
  best = results.best_over('optimizer.learning_rate')
  assert best.where(row='base').axis('optimizer.learning_rate') == [0.001]
  assert best.where(row='ours').axis('optimizer.learning_rate') == [0.01]
  assert best.where(row='ours').mean(LOSS) == 0.875
  worst = results.best_over('optimizer.learning_rate', LOSS, higher=True)
  assert worst.where(row='base').axis('optimizer.learning_rate') == [0.1]


def test_what_is_not_finite_is_never_best():
  assert best_of({'a': math.nan, 'b': 2.0, 'c': math.inf}) == 'b'
  assert best_of({'a': math.inf, 'b': 2.0}, higher=True) == 'b'


@pytest.mark.parametrize(
  'look, hint',
  [
    (lambda r: r.where(row='oours'), "did you mean 'ours'"),
    (lambda r: r.where(optimizer__learning_rat=0.1), "mean 'optimizer.learning_rate'"),
    (lambda r: r.where(optimizer__learning_rate=0.2), 'one of 0.001, 0.01, 0.1'),
    (lambda r: r.axis('sed'), "did you mean 'seed'"),
  ],
)
def test_wrong_names_are_errors_with_the_nearest(results, look, hint):
  with pytest.raises(ConfigError, match=hint):
    look(results)


def test_missing_seeds_are_not_averaged_over(tmp_path):
  study = fake_study.make(tmp_path, lambda p: 1.0 if p.axes['seed'] else None)
  results = Results(study)
  with pytest.raises(NotEnoughData, match=r'base: seeds \[0\] are missing'):
    results.where(row='base').mean(LOSS)
  assert [point.name for point in results.missing] == ['base,seed=0', 'ours,seed=0']


def test_a_row_of_another_size_is_a_lack_of_data(tmp_path):
  study = fake_study.make(tmp_path, lambda point: 1.0, only_rows=('base',))
  with pytest.raises(NotEnoughData):
    Results(study).where(row='ours').mean(LOSS)


def test_evidence_is_the_points_that_were_looked_at(tmp_path):
  study = fake_study.make(tmp_path, lambda p: 1.0 if p.axes['seed'] else None)
  results = Results(study)
  list(results.where(row='ours'))
  assert results.evidence.used == {'ours,seed=1', 'ours,seed=2'}
  assert results.evidence.missing == {'ours,seed=0'}
  assert results.fresh().evidence.used == set()


def test_a_curve_is_the_mean_over_seeds_with_its_band(results):
  part = results.where(row='base', optimizer__learning_rate=0.001)
  curve = part.curve(LOSS)
  single = np.array([[v * (2 - s / 6) for s in range(1, 7)] for v in (1.75, 2.0)])
  np.testing.assert_array_equal(curve.x, np.arange(1, 7))
  np.testing.assert_allclose(curve.mean, single.mean(axis=0))
  np.testing.assert_allclose(curve.high - curve.mean, single.std(axis=0, ddof=1))
  np.testing.assert_array_equal(part.curve(LOSS, 'tokens').x, 128 * np.arange(1, 7))
  np.testing.assert_allclose(part.curve(LOSS, 'seconds').x, 10 * np.arange(1, 7))


def test_a_row_with_the_config_of_another_shares_its_points(tmp_path):
  rows = {'base': {}, 'same': {'optimizer.weight_decay': 0.1}, 'other': {'seed': 9}}
  study = fake_study.make(tmp_path, lambda p: 1.0 + p.axes['seed'], rows=rows)
  results = Results(study)
  assert results.where(row='same').by_seed(LOSS) == {0: 1.0, 1: 2.0, 2: 3.0}
  assert results.evidence.used == {f'base,seed={seed}' for seed in (0, 1, 2)}
  assert results.axis('row') == ['base', 'same', 'other']
