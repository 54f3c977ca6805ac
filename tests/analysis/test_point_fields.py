"""Rows, axes and seeds of points; what no point has is told."""

import pytest

from gpt_jax.analysis import point_fields
from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

RATE = 'optimizer.learning_rate'


@pytest.fixture(scope='module')
def study(tmp_path_factory):
  sweep = algebra.product(algebra.vary(RATE, 0.1, 0.2), algebra.vary('model.d_ff', 64))
  rows = {'base': {}, 'ours': {'optimizer.weight_decay': 0.5}, 'same': {}}
  folder = tmp_path_factory.mktemp('fields')
  return fake_study.make(folder, rows=rows, sweep=sweep, seeds=(3, 4))


def test_points_of_equal_config_are_among_all_of_them(study):
  found = point_fields.all_points(study)
  assert len(study.points) == 8
  assert [point.row for point in found] == ['base'] * 4 + ['ours'] * 4 + ['same'] * 4
  assert found[0].workdir == found[8].workdir


def test_a_point_has_its_row_axes_and_config_fields(study):
  point = point_fields.all_points(study)[7]
  fields = ('row', RATE, 'optimizer.weight_decay', 'train.steps')
  expected = ['ours', 0.2, 0.5, fake_study.STEPS]
  assert [point_fields.value_of(point, field) for field in fields] == expected
  assert point_fields.seed_of(point) == 4
  with pytest.raises(ConfigError, match="did you mean 'seed'"):
    point_fields.value_of(point, 'sed')


def test_an_axis_of_one_value_does_not_vary(study):
  assert point_fields.varied_axes(study) == [RATE]


def test_values_are_the_same_up_to_rounding(study):
  point_fields.require_known(study, RATE, 0.1 * (1 + 1e-9))
  with pytest.raises(ConfigError, match='expected one of 0.1, 0.2'):
    point_fields.require_known(study, RATE, 0.15)
