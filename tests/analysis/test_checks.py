"""A rule that would raise after the runs raises before them, with its line."""

import pytest

from gpt_jax.analysis import checks
from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import loading, points
from tests import test_docs
from tests.sweeps import studies

RULE = """
def rule(results):
  {line}
  return Outcome(True, {{}})
"""


def check(folder, line, rule='rule', more=''):
  claim = (
    f"Claim('c', 't', 's', kind='floor', evidence='C', statistics='m', rule={rule}),"
  )
  path = studies.write(
    folder,
    rows="{'a': {}, 'b': {'model.d_ff': 8}}",
    more=f'\n    claims=({claim}),{more}',
  )
  path.write_text(path.read_text() + RULE.format(line=line))
  study, source = points.open_study(path), loading.Source(path)
  source.require_none(checks.mistakes_of(source, study))


@pytest.mark.parametrize(
  'line, told',
  [
    ("results.where(row='aa')", "row='aa'.*did you mean 'a'"),
    ('results.where(model__d_model=7)', 'model.d_model=7'),
    ("results.where(row='a').mean('valid/loss')", "did you mean 'validation'"),
    ("results.where(row='a').curve('test/loss')", "no evaluation set 'test'"),
    ('results.best()', 'AttributeError'),
    ('undefined_name', 'NameError'),
    ('[][0]', 'IndexError'),
    ('raise NotImplementedError', 'NotImplementedError'),
    ('rule(results)', 'RecursionError'),
    ("int('x')", 'raises ValueError: invalid literal.*, whatever the numbers'),
    ("results.where(row='a').mean('grad_norm')", "did you mean 'train/grad_norm'"),
  ],
)
def test_a_rule_that_raises_is_told_before_any_run(tmp_path, line, told):
  with pytest.raises(ConfigError, match=told) as caught:
    check(tmp_path, line)
  assert "study.py:18: claim 'c': " in str(caught.value)


def test_a_rule_that_returns_something_else_is_told(tmp_path):
  with pytest.raises(ConfigError, match="claim 'c'.*expected an Outcome"):
    check(tmp_path, 'pass', rule='lambda results: True')


@pytest.mark.parametrize(
  'line',
  [
    "results.where(row='a').mean('validation/loss')",
    "results.where(row='b').curve('train/loss').mean",
    '[1 / 0]',  # numbers that are made up prove nothing
    "min(r.value('train/loss') for r in results if r.value('train/loss') < 0.5)",
    "import math; math.log(results.where(row='a').mean('train/loss') - 1e9)",
    "next(iter(results)).value('parameters')",
    "open(next(iter(results)).point.workdir / 'eval.json')",
  ],
)
def test_a_rule_that_may_do_with_real_results_passes(tmp_path, line):
  check(tmp_path, line)


def test_columns_are_tried_as_well(tmp_path):
  with pytest.raises(ConfigError, match="column 'x'.*no evaluation set 'test'"):
    check(tmp_path, 'pass', more=" columns={'x': 'test/loss'},")


def test_a_column_may_be_that_of_one_row(tmp_path):
  named = "{'b': {'eval.sets.b': {'split': 'train'}}, 'a': {}}"
  study = studies.study(tmp_path, rows=named, more=" columns={'x': 'b/loss'},")
  assert not checks.mistakes_of(loading.Source(study.path), study)


@pytest.mark.parametrize(
  'more, told',
  [
    ("metric='loss'", "metric: 'loss': no metric of a run; did you mean '.*/loss'"),
    ("metric='validation/los'", "did you mean 'validation/loss'"),
    ("figures=(Figure('f', 't', y='validaton/loss'),)", "y: .*'validation'"),
    ("figures=(Figure('f', 't', x='lr'),)", "figure 'f': x: lr: no axis"),
    ("figures=(Figure('f', 't', by='data.options.no'),)", 'by: data.options.no: no'),
    ("figures=(Figure('f', 't', select=lambda r: r.wher('a')),)", 'select: raises Att'),
    ("figures=(Figure('f', 't', select=lambda r: 3),)", 'expected Results'),
    (
      "figures=(Figure('f', 't', lines=(Line('l', lambda r: r.no, 's'),)),)",
      "line 'l'",
    ),
  ],
)
def test_metrics_and_figures_are_tried_as_well(tmp_path, more, told):
  study = studies.study(tmp_path, more=f'\n    {more},')
  (mistake,) = checks.mistakes_of(loading.Source(study.path), study)
  with pytest.raises(ConfigError, match=told):
    loading.Source(study.path).require_none([mistake])


@pytest.mark.parametrize('page', ['README.md', 'docs/experiments.md'])
def test_documented_experiments_are_valid(tmp_path, page):
  shown = test_docs.blocks(test_docs.ROOT / page, 'python')
  for text in [text for text in shown if 'get_experiment' in text]:
    (tmp_path / 'study.py').write_text(text)
    study = points.open_study(tmp_path / 'study.py')
    assert study.points
    assert not checks.mistakes_of(loading.Source(study.path), study)
