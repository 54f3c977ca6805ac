"""What an experiment says that cannot be is told before any run, with its line."""

import re

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import points
from gpt_jax.sweeps.mistakes import Mistake
from tests.sweeps import studies

CLAIM = (
  "Claim('c', 'text', 'source', kind='{kind}', evidence='{evidence}',"
  " statistics='mean', rule={rule}{more})"
)

PAPR = ", sizes=('papr',)"


def claim(kind='floor', evidence='C', rule='len', more=''):
  return CLAIM.format(kind=kind, evidence=evidence, rule=rule, more=more)


@pytest.mark.parametrize(
  'more, told',
  [
    (f'claims=({claim()}, {claim()})', "two are called 'c'"),
    (f'claims=({claim(kind="odering")},)', "did you mean 'ordering'"),
    (f'claims=({claim(evidence="Q")},)', 'read in the source itself'),
    (f'claims=({claim(rule="3")},)', 'expected a function'),
    (f'claims=({claim(more=PAPR)},)', "no size 'papr'"),
    (f'claims=({claim()})', 'a tuple of one ends in a comma'),
    ("figures=(Figure('f', 'x'), Figure('f', 'y'))", "two are called 'f'"),
    ("figures=(Figure('a/b', 'x'),)", "name='a/b': expected letters"),
    ("figures=(Figure('f', 'x', by='model.d_mode'),)", "by='model.d_mode': no such"),
    ("figures=(Figure('f', 'x', select=3),)", 'select=3: expected a function'),
    (
      "figures=(Figure('f', 'x', lines=(1.88,)),)",
      'lines[0]=1.88: expected a Line, not float',
    ),
    ("figures=(Figure('f', 'x', sizes=('papr',)),)", "no size 'papr'"),
    ("compare_to='aa'", "no row 'aa'; did you mean 'a'"),
    ("columns={'x': 3}", 'a metric or a function'),
    ("search={'seed': Range(2, 1)}", 'low < high'),
    ("at_best=('train.step',)", "at_best: no sweep varies 'train.step'"),
  ],
)
def test_what_cannot_be_is_told_with_its_line(tmp_path, more, told):
  with pytest.raises(ConfigError, match=re.escape(told)) as caught:
    studies.study(tmp_path, more=f'\n    {more},')
  assert 'study.py:14: ' in str(caught.value)


def test_an_axis_at_best_that_is_none_names_the_nearest(tmp_path):
  sweep = "vary('optimizer.learning_rate', 1e-3, 1e-2)"
  more = "\n    at_best=('optimizer.learning_rat',),"
  with pytest.raises(ConfigError, match="mean 'optimizer.learning_rate'"):
    studies.study(tmp_path, sweep=sweep, more=more)


@pytest.mark.parametrize(
  'parts, told',
  [
    (dict(rows='{}'), 'rows: has none'),
    (dict(rows="{'a': 3}"), 'a dict of overrides'),
    (dict(seeds='3'), 'seeds=3'),
    (dict(sweep='()'), 'no points'),
    (dict(seeds='(0, 1, 0)'), r'study.py:12: .*one of them stands there twice'),
    (dict(seeds='(-1,)'), 'study.py:12: seed=-1: expected at least 0'),
    (dict(sweep="({},)), '../x': Size('', 1"), "'../x'.: expected letters"),
    (dict(sweep='seeds(0, 1)'), 'vary seed'),
    (dict(sweep="rows('b')"), "no row 'b'"),
    (dict(sweep="({'model.layer_pattern': ['global']},)"), 'give tuples'),
    (dict(rows="{'a': {'train': {'steps': 6}}}"), "did you mean 'train.steps'"),
  ],
)
def test_a_size_that_makes_no_points_is_told(tmp_path, parts, told):
  with pytest.raises(ConfigError, match=told):
    studies.study(tmp_path, **parts)


def test_mistakes_in_points_and_in_claims_are_told_together(tmp_path):
  more = f"\n    compare_to='b', claims=({claim()},),"
  rows = "{'a': {'model.d_modl': 8}}"
  with pytest.raises(ConfigError, match='2 problems') as caught:
    studies.study(tmp_path, rows=rows, more=more)
  assert 'd_modl: unknown key' in str(caught.value)


def test_what_a_check_finds_is_told_with_the_rest(tmp_path):
  path = studies.write(tmp_path, more=f'\n    claims=({claim(kind="x")},),')
  with pytest.raises(ConfigError, match='2 problems') as caught:
    points.open_study(path, check=lambda *study: [Mistake('its rule raises')])
  assert 'its rule raises' in str(caught.value)


def test_all_mistakes_are_told_together(tmp_path):
  more = f"\n    compare_to='b', claims=({claim(kind='x')}, {claim()}),"
  with pytest.raises(ConfigError, match='3 problems, nothing started'):
    studies.study(tmp_path, more=more)
