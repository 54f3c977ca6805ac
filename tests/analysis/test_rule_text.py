"""The text of a rule: layout and comments do not count, numbers and helpers do."""

import functools
import importlib
import runpy
import shutil
import sys

import pytest

from gpt_jax.analysis import references, rule_text, rules

FILE = """
import dataclasses
import functools

import numpy as np
from gpt_jax.analysis import rules
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

def above(level, least=0):
  return lambda result: result.value > level

class Limits:
  LEVEL = 5.5

  @property
  def low(self):
    return self.LEVEL - 7.5

@dataclasses.dataclass(frozen=True)
class Passes:
  level: float

  def __call__(self, results):
    return Outcome(results < self.level, {})

@functools.cache
def cached(results):
  return Outcome(results > 8.5, {})

def by_class(results):
  return Outcome(results > Limits().low, {})

of_two = made(2)
both = rules.all_of(*(rules.below(1, metric=m) for m in (above('x'), above('y'))))
passes = Passes(4.5)
first, second = lambda r: Outcome(r > 1, {}), lambda r: Outcome(r > 2, {})
"""

RULES = (
  'rule', 'of_two', 'first', 'second', 'both', 'passes', 'cached', 'by_class'
)  # fmt: skip


def texts(tmp_path, source):
  path = tmp_path / f'file{len(list(tmp_path.iterdir()))}.py'
  path.write_text(source)
  names = runpy.run_path(str(path))
  return {name: rule_text.text_of(names[name]) for name in RULES}


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
    ("above('y')", "above('z')", {'both'}),
    ('result.value > level', 'result.value < level', {'both'}),
    ('results < self.level', 'results > self.level', {'passes'}),
    ('Passes(4.5)', 'Passes(4)', {'passes'}),
    ('results > 8.5', 'results > 8', {'cached'}),
    ('LEVEL = 5.5', 'LEVEL = 5', {'by_class'}),
    ('7.5', '7', {'by_class'}),
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
  assert 'Outcome = experiment.Outcome' in text


def test_defaults_of_a_rule_count_by_value():
  one, other = (lambda results, n=n: results > n for n in (1, 2))
  assert rule_text.text_of(one) != rule_text.text_of(other)


@pytest.mark.parametrize(
  'old, new, is_changed',
  [
    ('value > LEVEL', 'value < LEVEL', True),
    ('LEVEL = 1', 'LEVEL = 2', True),
    ('UNUSED = 1', 'UNUSED = 2', False),
  ],
)
def test_modules_beside_the_file_count(tmp_path, monkeypatch, old, new, is_changed):
  source = 'LEVEL = 1\nUNUSED = 1\ndef high(value):\n  return value > LEVEL\n'
  file = tmp_path / 'file.py'
  file.write_text('import limits_of_mine\nrule = lambda r: limits_of_mine.high(r)\n')
  monkeypatch.syspath_prepend(tmp_path)
  found = []
  for text in (source, source.replace(old, new)):
    (tmp_path / 'limits_of_mine.py').write_text(text)
    monkeypatch.delitem(sys.modules, 'limits_of_mine', raising=False)
    importlib.invalidate_caches()
    shutil.rmtree(tmp_path / '__pycache__', ignore_errors=True)
    found.append(rule_text.text_of(runpy.run_path(str(file))['rule']))
  monkeypatch.delitem(sys.modules, 'limits_of_mine')
  assert (found[0] != found[1]) == is_changed


def test_a_library_that_moves_changes_no_text():
  assert rule_text.text_of(rules.FirstStep) == 'rules.FirstStep'
  level = rule_text.text_of(references.ngram(5))
  assert level.startswith('references.ngram.<locals>.level(')


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
