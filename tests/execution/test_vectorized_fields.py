"""Fields that cannot be vectorized are refused by name, with the reason."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.execution import vectorized_fields
from tests.sweeps import studies

SWEEP = """product(
  vary('optimizer.learning_rate', 0.1, 0.2), vary('model.d_model', 32, 64),
  vary('optimizer.name', 'adamw', 'lion'),
)"""


@pytest.fixture(scope='module')
def points(tmp_path_factory):
  return studies.study(tmp_path_factory.mktemp('study'), sweep=SWEEP).points


@pytest.mark.parametrize(
  'field, reason',
  [
    ('model.d_model', r'model\.d_model=64: changes shapes, .* from \['),
    ('optimizer.name', "optimizer.name='adamw': is no number"),
    ('optimizer.lerning_rate', "did you mean 'optimizer.learning_rate'"),
    ('optimizer.nesterov', 'is no number'),
  ],
)
def test_a_field_is_refused_by_name(points, field, reason):
  with pytest.raises(ConfigError, match=reason):
    vectorized_fields.require_vectorizable(points, [field])


def test_numbers_that_change_no_shape_are_accepted(points):
  fields = ['seed', 'optimizer.learning_rate', 'optimizer.b1']
  vectorized_fields.require_vectorizable(points, fields)


def test_all_problems_are_told_at_once(points):
  with pytest.raises(ConfigError, match='(?s)d_model.*optimizer.name'):
    vectorized_fields.require_vectorizable(points, ['model.d_model', 'optimizer.name'])
