"""The text of a rule: layout and comments do not count, numbers and helpers do."""

import functools
import runpy

import pytest

from gpt_jax.analysis import rule_text

FILE = """
import numpy as np
from gpt_jax.sweeps import Outcome

LEVEL = 1.5
UNUSED = 3

def lowest(values):
  return min(values)

def rule(results):
  return Outcome(lowest(results) > LEVEL, {})

def made(level):
  def inner(results):
    return Outcome(min(results) > level, {})
  return inner

of_two = made(2)
first, second = lambda r: Outcome(r > 1, {}), lambda r: Outcome(r > 2, {})
"""


def texts(tmp_path, source):
  path = tmp_path / f'file{len(list(tmp_path.iterdir()))}.py'
  path.write_text(source)
  names = runpy.run_path(str(path))
  rules = ('rule', 'of_two', 'first', 'second')
  return {name: rule_text.text_of(names[name]) for name in rules}


@pytest.mark.parametrize(
  'old, new, changed',
  [
    ('def rule(results):', 'def rule(results):  # why\n  """What."""\n', set()),
    ('UNUSED = 3', 'UNUSED = 4', set()),
    ('min(values)', 'min(  values  )', set()),
    ('LEVEL = 1.5', 'LEVEL = 1.4', {'rule'}),
    ('return min(values)', 'return max(values)', {'rule'}),
    ('made(2)', 'made(3)', {'of_two'}),
    ('min(results) > level', 'min(results) >= level', {'of_two'}),
    ('r > 1', 'r > 0', {'first'}),
    ('r > 2', 'r > 0', {'second'}),
  ],
)
def test_a_text_changes_with_what_the_rule_does(tmp_path, old, new, changed):
  assert old in FILE
  before, after = texts(tmp_path, FILE), texts(tmp_path, FILE.replace(old, new))
  assert {name for name in before if before[name] != after[name]} == changed


def test_a_text_shows_the_rule_and_its_numbers(tmp_path):
  text = texts(tmp_path, FILE)['rule']
  assert 'lowest(results) > LEVEL' in text
  assert 'LEVEL = 1.5' in text
  assert 'Outcome = gpt_jax.sweeps.experiment.Outcome' in text


def test_partials_methods_and_mappings_have_texts():
  assert rule_text.text_of(functools.partial(max, 1, key=2)) == (
    "partial(<built-in function max>, 1, ('key', 2))"
  )
  assert rule_text.text_of({'a': (1, [2.5])}) == "{'a': (1, (2.5))}"


def test_objects_have_no_address_in_their_text():
  assert '0x' not in rule_text.text_of(object())


def test_a_rule_that_calls_itself_has_a_text():
  def again(n):
    return again(n - 1) if n else 0

  assert 'again(n - 1)' in rule_text.text_of(again)
