"""Hostile values in configs: refused by name or trained, never a traceback."""

import pytest

from gpt_jax.config import load
from tests import tiny_runs
from tests.config import config_faults


@pytest.fixture(scope='module')
def values():
  return load.to_dict(tiny_runs.tiny_config())


@pytest.mark.parametrize('kind', config_faults.VALUES)
def test_every_field_refuses_or_accepts_a_hostile_value(kind, values):
  value = config_faults.VALUES[kind]
  wrong = []
  for number, field in enumerate(config_faults.fields()):
    # As a Python value or as a word of the command line, in turn; the fault lane: both.
    form = str(value) if number % 2 else value
    outcome, message = config_faults.validate(values, field, form)
    if outcome in config_faults.BUGS:
      wrong.append(f'{field}: {outcome}\n{message}')
  assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize(
  ('field', 'value', 'outcome'),
  [
    ('data.max_corrupt_records', config_faults.HUGE, 'trained'),
    ('data.cache_dir', 'x' * 4000, 'refused'),
    ('data.path', 'x' * 4000, 'refused'),
    ('data.cache_dir', '/dev/null/x', 'refused'),
    ('tokenizer.path', 'link', 'trained'),  # nobody reads it: bytes
    ('init_from', 'link', 'refused'),
    ('init_from', 'x' * 4000, 'refused'),
    ('model.d_ff', 2**23, 'refused'),
  ],
)
def test_a_hostile_value_that_validates_trains_or_is_refused(field, value, outcome):
  found, message = config_faults.run(field, value)
  assert found == outcome, message
