"""Claims held against results, also where some are missing or a rule fails."""

import math

import pytest

from gpt_jax.analysis import fits, verdicts
from gpt_jax.analysis.results import Results
from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import Claim, Outcome
from tests.sweeps import fake_study

LOSS = 'validation/loss'


def below(level, row='ours'):
  def rule(results):
    mean = results.where(row=row).mean(LOSS)
    return Outcome(mean < level, {'mean': mean})

  return rule


def lowest(results):
  return Outcome(min(result.value(LOSS) for result in results) > 0, {})


def judge(tmp_path, rule, loss=lambda point: 1.0, kind='ordering', **fields):
  claim = Claim('one', 'Text.', 'nowhere', kind, 'C', 'mean', rule=rule, **fields)
  study = fake_study.make(tmp_path, loss, claims=(claim,))
  return verdicts.judge(study, Results(study))


@pytest.mark.parametrize(
  'level, kind, expected',
  [
    (1.5, 'ordering', 'reproduced'),
    (0.5, 'ordering', 'not reproduced'),
    (0.5, 'report_only', 'reported'),
  ],
)
def test_a_rule_over_all_points_has_its_verdict(tmp_path, level, kind, expected):
  (verdict,) = judge(tmp_path, below(level), kind=kind)
  assert (verdict.verdict, verdict.numbers, verdict.note) == (
    expected, {'mean': 1.0}, '',
  )  # fmt: skip
  assert verdict.points == ('ours,seed=0', 'ours,seed=1', 'ours,seed=2')


def test_only_the_points_that_a_rule_reads_can_be_missing(tmp_path):
  (verdict,) = judge(tmp_path, below(1.5), lambda p: 1.0 if p.row == 'ours' else None)
  assert verdict.verdict == 'reproduced'


@pytest.mark.parametrize(
  'loss, note',
  [
    (lambda p: None, '(ValueError: '),
    (lambda p: p.axes['seed'] or None, 'so far so.'),
    (lambda p: -p.axes['seed'] or None, 'so far not so.'),
  ],
)
def test_a_rule_that_lacks_points_has_not_enough_data(tmp_path, loss, note):
  (verdict,) = judge(tmp_path, lowest, loss)
  assert verdict.verdict == 'not enough data'
  assert 'base,seed=0' in verdict.note
  assert note in verdict.note


def test_a_mean_over_missing_seeds_says_which(tmp_path):
  (verdict,) = judge(tmp_path, below(1.5), lambda p: p.axes['seed'] or None)
  assert verdict.verdict == 'not enough data'
  assert 'ours: seeds [0] are missing' in verdict.note


def broken(results):
  return Outcome(1 / (len(results) - 6) > 0, {})


@pytest.mark.parametrize(
  'rule, text',
  [
    (broken, 'its rule raises ZeroDivisionError'),
    (below(1.5, row='oours'), "did you mean 'ours'"),
    (lambda results: True, 'expected an Outcome, found True'),
  ],
)
def test_a_rule_that_fails_on_whole_results_is_a_mistake(tmp_path, rule, text):
  with pytest.raises(ConfigError, match=f"claim 'one': .*{text}"):
    judge(tmp_path, rule)


def fitted(results):
  losses = [result.value(LOSS) for result in results.where(row='ours')]
  return Outcome(fits.fit_power_law([1, 2, 3], losses).alpha > 0, {})


def test_a_fit_of_diverged_runs_is_not_enough_data(tmp_path):
  claim = Claim('one', 'Text.', 'nowhere', 'ordering', 'C', 'mean', rule=fitted)
  study = fake_study.make(tmp_path, lambda point: 1.0, claims=(claim,))
  fake_study.diverge(study.points[-1])
  (verdict,) = verdicts.judge(study, Results(study))
  assert verdict.verdict == 'not enough data'
  assert verdict.note == (
    'diverged: ours,seed=2 (UserError: expected positive numbers to fit, found inf.).'
  )


def test_a_verdict_on_diverged_runs_names_them(tmp_path):
  claim = Claim('one', 'Text.', 'nowhere', 'ordering', 'C', 'mean', rule=below(1.5))
  study = fake_study.make(tmp_path, lambda point: 1.0, claims=(claim,))
  fake_study.diverge(study.points[-1])
  (verdict,) = verdicts.judge(study, Results(study))
  assert verdict.verdict == 'not reproduced'
  assert verdict.note == 'diverged: ours,seed=2.'


def test_a_fit_that_cannot_be_made_is_not_enough_data(tmp_path):
  (verdict,) = judge(tmp_path, fitted, lambda point: -1.0)
  assert verdict.verdict == 'not enough data'
  assert verdict.note == 'expected positive numbers to fit, found -1.0.'


def test_claims_of_other_sizes_are_left_out(tmp_path):
  assert judge(tmp_path, lowest, sizes=('paper',)) == ()


def test_numbers_are_json_values(tmp_path):
  numbers = {'a': math.inf, 'b': (1, 2.0), 3: {'c': None}}
  (verdict,) = judge(tmp_path, lambda results: Outcome(True, numbers))
  assert verdict.numbers == {'a': 'inf', 'b': [1, 2.0], '3': {'c': None}}


@pytest.mark.parametrize(
  'fields', [{'metric': 'validation/perplexity'}, {'higher_is_better': True}]
)
def test_metric_and_direction_are_part_of_every_rule(tmp_path, fields):
  # What `best_over` of a function chooses depends on them.
  claim = Claim('one', 'Text.', 'nowhere', 'ordering', 'C', 'mean', rule=below(1.5))
  digests = []
  for i, changed in enumerate(({}, fields)):
    study = fake_study.make(
      tmp_path / str(i), lambda p: 1.0, claims=(claim,), **changed
    )
    (verdict,) = verdicts.judge(study, Results(study))
    digests.append(verdict.digest)
  assert digests[0] != digests[1]
