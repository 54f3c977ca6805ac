"""The schema: every field has a value in base.py, and no bad value passes it."""

import dataclasses
import typing

import pytest

from gpt_jax.config.options import OPTIONS
from gpt_jax.config.schema import Config
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import setup
from tests import small_models as small


def fields_of(cls=Config, prefix=''):
  """Returns `[(dotted name, annotation, metadata), ...]` of the schema's leaves."""
  hints, leaves = typing.get_type_hints(cls), []
  for field in dataclasses.fields(cls):
    dotted = prefix + field.name
    if dataclasses.is_dataclass(hints[field.name]):
      leaves += fields_of(hints[field.name], dotted + '.')
    else:
      leaves.append((dotted, hints[field.name], field.metadata))
  return leaves


FIELDS = fields_of()
NUMBERS = [f for f in FIELDS if f[1] in (int, float, int | None, float | None)]


def problem_of(dotted, value):
  """Returns the ConfigError's text for one override, or None when it is accepted."""
  try:
    setup.resolve(small.base_values(), small.SMALL | {dotted: value})
  except ConfigError as error:
    return str(error)
  return None


def test_base_gives_a_value_to_every_field_and_no_other():
  def names(values, prefix=''):
    found = []
    for key, value in values.items():
      dotted = prefix + key
      is_leaf = not isinstance(value, dict) or dotted in leaves
      found += [dotted] if is_leaf else names(value, dotted + '.')
    return found

  leaves = {dotted for dotted, _, _ in FIELDS}
  assert set(names(small.base_config().to_dict())) == leaves


def test_every_field_has_a_type_that_loading_can_check():
  known = (bool, int, float, str, bool | None, int | None, float | None)
  for dotted, annotation, _ in FIELDS:
    is_plain = annotation in known or dotted in OPTIONS.values()
    assert is_plain or typing.get_origin(annotation) in (tuple, dict), dotted


def test_a_config_cannot_be_changed():
  config = small.resolve()
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.seed = 1
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.model.num_layers = 1


class Strange:
  def __repr__(self):
    return '<strange>'


BAD_FOR_ANY = (
  Strange(),
  b'bytes',
  {1, 2},
  1j,
  (((),),),
  [None],
  {'a': {'b': Strange()}},
  {3: 5},
)


@pytest.mark.parametrize('dotted', [dotted for dotted, _, _ in FIELDS])
def test_a_value_of_another_type_is_a_named_config_error(dotted):
  """Fuzz: each field times values of the wrong kind; the error names the field."""
  for value in BAD_FOR_ANY:
    problem = problem_of(dotted, value)
    assert problem is not None, value
    assert dotted in problem


@pytest.mark.parametrize('text', ['{[]: 1}', '(' * 500, '\0', '1e', '--', '"', '[1,'])
@pytest.mark.parametrize('dotted', ['model.num_layers', 'optimizer.eps', 'model.bias'])
def test_malformed_override_text_is_a_named_config_error(dotted, text):
  assert dotted in problem_of(dotted, text)


@pytest.mark.parametrize('dotted,annotation,limits', NUMBERS)
def test_numbers_outside_their_range_are_named(dotted, annotation, limits):
  is_float = annotation in (float, float | None)
  for value in (float('nan'), float('inf'), -float('inf'), 10**400, 'nan', '1e999'):
    assert dotted in problem_of(dotted, value)
  too_low = min(-1, limits.get('at_least', 0) - 1) if limits else Strange()
  for value in (True, False, 'three', too_low):
    assert dotted in problem_of(dotted, value)
  if not is_float:
    assert dotted in problem_of(dotted, 1.5)
  if 'at_least' in limits:
    below = limits['at_least'] - (1e-6 if is_float else 1)
    assert f'{dotted}={below!r}: expected at least' in problem_of(dotted, below)
  if 'above' in limits:
    assert f'{dotted}=0.0: expected more than 0' in problem_of(dotted, 0.0)
  for limit in ('at_most', 'below'):
    if limit in limits:
      assert dotted in problem_of(dotted, limits[limit] + 1)


def test_every_number_has_a_range():
  for dotted, _, limits in NUMBERS:
    assert limits, dotted


@pytest.mark.parametrize(
  'dotted', [dotted for dotted, annotation, _ in FIELDS if annotation is bool]
)
def test_only_true_and_false_are_bools(dotted):
  for value in (0, 1, 'yes', None, 1.0):
    assert f'{dotted}={value!r}: expected bool' in problem_of(dotted, value)


@pytest.mark.parametrize(
  'dotted,limits', [(f[0], f[2]) for f in FIELDS if 'choices' in f[2]]
)
def test_choices_are_listed_with_the_nearest_name(dotted, limits):
  choice = limits['choices'][-1]
  problem = problem_of(dotted, choice + 'x')
  assert f'{dotted}={choice + "x"!r}: expected one of' in problem
  assert all(known in problem for known in limits['choices'])
  assert 'did you mean' in problem


def test_a_dropout_of_one_leaves_nothing_and_is_refused():
  for dotted in ('model.dropout', 'model.stochastic_depth', 'optimizer.b2'):
    assert f'{dotted}=1.0: expected less than 1.0' in problem_of(dotted, 1.0)
