"""The usual pass rules, each held against a recomputation or scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from gpt_jax.analysis import rule_text, rules
from gpt_jax.analysis.results import NotEnoughData, Results
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

RATE = 'optimizer.learning_rate'
LOSS = 'validation/loss'
RATES = (0.001, 0.004, 0.016)
SEEDS = (3, 4, 5)
ROWS = {f'w{w}': {'optimizer.weight_decay': w / 100} for w in (1, 2, 4)}
NOISE = dict(zip(SEEDS, (0.0, 0.02, -0.05), strict=True))


def loss_of(point):
  """Returns a loss lowest at 0.004 for w1 and w2, at 0.001 for w4; w2 wins by 0.1."""
  best = {'w1': 0.004, 'w2': 0.004, 'w4': 0.001}[point.row]
  level = {'w1': 2.0, 'w2': 1.9, 'w4': 1.95}[point.row]
  noise = NOISE[3 + (point.axes['seed'] + int(point.row[1])) % 3]
  return level + 0.1 * abs(math.log(point.axes[RATE] / best)) + noise


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  return Results(
    fake_study.make(
      tmp_path_factory.mktemp('rules'),
      loss_of,
      rows=ROWS,
      sweep=algebra.vary(RATE, *RATES),
      seeds=SEEDS,
    )
  )


def losses(results, row, rate):
  points = [p for p in results.study.points if p.row == row and p.axes[RATE] == rate]
  return np.array([loss_of(point) for point in points])


def at(row, rate=0.004):
  return {'row': row, RATE: rate}


@pytest.mark.parametrize(
  'make, expected',
  [
    (lambda m: rules.below(m, at('w1')), True),
    (lambda m: rules.below(m - 0.01, at('w1')), False),
    (lambda m: rules.below(m - 0.01, at('w1'), tolerance=0.011), True),
    (lambda m: rules.above(m - 0.01, at('w1')), True),
    (lambda m: rules.above(m + 0.01, at('w1')), False),
    (lambda m: rules.between(m - 0.01, m + 0.01, at('w1')), True),
    (lambda m: rules.between(m + 0.01, m + 0.02, at('w1')), False),
    (lambda m: rules.below(m, 'w1', at_best=RATE), True),
    (lambda m: rules.below(m, 'w1'), False),  # two of the rates are worse
  ],
)
def test_a_level_is_compared_with_the_mean_over_seeds(results, make, expected):
  mean = float(np.mean(losses(results, 'w1', 0.004)))
  outcome = make(mean + 1e-12)(results)
  assert outcome.holds == expected
  assert mean in [pytest.approx(value) for value in outcome.numbers.values()]


def test_better_is_a_margin_between_means(results):
  gain = losses(results, 'w1', 0.004).mean() - losses(results, 'w2', 0.004).mean()
  outcome = rules.better(at('w2'), at('w1'), by=gain - 1e-9)(results)
  assert outcome.holds
  assert outcome.numbers['better by'] == pytest.approx(gain)
  assert not rules.better(at('w2'), at('w1'), by=gain + 1e-9)(results).holds
  assert not rules.better(at('w1'), at('w2'))(results).holds
  assert rules.better(at('w1'), at('w2'), higher=True)(results).holds
  # Each at its own best rate: 0.001 for w4, 0.004 for w1.
  best = losses(results, 'w1', 0.004).mean() - losses(results, 'w4', 0.001).mean()
  outcome = rules.better('w4', 'w1', at_best=RATE)(results)
  assert outcome.numbers['better by'] == pytest.approx(best)


def accuracy(result):
  return 10.0 - result.value(LOSS)  # highest at the rate with the lowest loss


HIGHEST = dict(metric=accuracy, higher=True)


@pytest.mark.parametrize(
  'make, expected',
  [
    (lambda best: rules.above(best, 'w1', at_best=RATE, **HIGHEST), True),
    (lambda best: rules.below(best - 0.01, 'w1', at_best=RATE, **HIGHEST), False),
    (lambda best: rules.better('w2', 'w1', at_best=RATE, **HIGHEST), True),
    (lambda best: rules.rising(('w1', 'w4', 'w2'), at_best=RATE, **HIGHEST), True),
    (lambda best: rules.falling(('w2', 'w4', 'w1'), at_best=RATE, **HIGHEST), True),
    (lambda best: rules.equal('w1', 'w1', within=0, at_best=RATE, **HIGHEST), True),
    (lambda best: rules.ratio('w2', 'w1', at_least=1, at_best=RATE, **HIGHEST), True),
    (lambda best: rules.optimum_stays(RATE, factor=4, **HIGHEST), True),
    (lambda best: rules.optimum_moves(RATE, factor=5, **HIGHEST), False),
  ],
)
def test_the_best_value_is_the_highest_where_asked(results, make, expected):
  best = 10.0 - losses(results, 'w1', 0.004).mean()
  outcome = make(best - 1e-9)(results)
  assert outcome.holds == expected
  assert outcome.numbers


@pytest.mark.parametrize('by', [0.0, 0.05, 0.2])
def test_the_paired_test_is_one_sided_and_that_of_scipy(results, by):
  one, other = losses(results, 'w2', 0.004), losses(results, 'w1', 0.016)
  expected = stats.ttest_rel(one, other - by, alternative='less').pvalue
  outcome = rules.paired_better(at('w2'), at('w1', 0.016), by=by)(results)
  assert outcome.numbers['p'] == pytest.approx(expected)
  assert outcome.holds == (expected < 0.05)


def test_one_seed_is_no_paired_test(tmp_path):
  study = fake_study.make(tmp_path, lambda p: 1.0 + (p.row == 'base'), seeds=(0,))
  with pytest.raises(NotEnoughData, match='two seeds'):
    rules.paired_better('ours', 'base')(Results(study))


def test_no_number_is_on_the_right_side_of_a_bound(tmp_path):
  study = fake_study.make(tmp_path, lambda p: 1.0)
  fake_study.diverge(study.points[1])
  results, metric = Results(study), 'validation/loss_of_others'
  for result in results:
    result.metrics.setdefault(metric, 1.0)
  assert not rules.never_below(0.5, metric=metric)(results).holds
  assert not rules.never_above(2.0, metric=metric)(results).holds


def test_order_along_an_axis_or_rows_has_a_tolerance(results):
  assert not rules.falling(RATE, 'w1')(results).holds
  assert rules.rising(RATE, 'w4')(results).holds
  assert rules.falling(RATE, 'w4', tolerance=0.2)(results).holds
  assert rules.falling(('w1', 'w4', 'w2'), {RATE: 0.001})(results).holds is False
  best = rules.falling(('w1', 'w4', 'w2'), at_best=RATE)(results)
  assert best.holds
  assert list(best.numbers) == ['w1', 'w4', 'w2']
  assert not rules.rising(('w1', 'w4', 'w2'), at_best=RATE)(results).holds


def test_equality_is_of_means_or_of_each_seed(results):
  one, other = losses(results, 'w1', 0.004), losses(results, 'w2', 0.004)
  gap, largest = abs(one.mean() - other.mean()), np.abs(one - other).max()
  pair = at('w1'), at('w2')
  assert rules.equal(*pair, within=gap + 1e-9)(results).holds
  assert not rules.equal(*pair, within=gap - 1e-9)(results).holds
  seeds = rules.equal(*pair, within=1.0, each_seed=True)(results)
  assert seeds.numbers['difference'] == pytest.approx(largest)


def test_a_ratio_lies_between_its_limits(results):
  quotient = losses(results, 'w1', 0.016).mean() / losses(results, 'w1', 0.004).mean()
  pair = at('w1', 0.016), at('w1')
  outcome = rules.ratio(*pair, at_least=quotient - 1e-9)(results)
  assert outcome.holds
  assert outcome.numbers['ratio'] == pytest.approx(quotient)
  assert not rules.ratio(*pair, at_most=quotient - 1e-9)(results).holds


def test_a_floor_is_for_all_points_and_steps(results):
  lowest = min(loss_of(point) for point in results.study.points)
  highest = max(loss_of(point) for point in results.study.points)
  assert rules.never_below(lowest)(results).numbers['lowest'] == lowest
  assert rules.never_below(lowest)(results).holds
  assert not rules.never_below(lowest + 0.01)(results).holds
  assert rules.never_below(lowest + 0.01, tolerance=0.02)(results).holds
  assert rules.never_above(highest)(results).holds
  # The curves begin at nearly twice the final value.
  assert not rules.never_above(highest, all_steps=True)(results).holds


def test_the_best_value_of_an_axis_moves_by_a_factor(results):
  outcome = rules.optimum_stays(RATE, factor=4)(results)
  assert outcome.holds
  assert outcome.numbers == {
    'best at w1': 0.004, 'best at w2': 0.004, 'best at w4': 0.001, 'factor': 4.0,
  }  # fmt: skip
  assert not rules.optimum_stays(RATE, factor=2)(results).holds
  assert rules.optimum_moves(RATE, factor=4)(results).holds


def test_the_first_step_at_a_level_is_read_from_the_curve(results):
  # The curve of a final value v is v * (2 - step / 6).
  (one, *_) = results.where(row='w1', **{RATE: 0.004})
  final = one.value(LOSS)
  assert rules.FirstStep(LOSS, below=final * 1.5)(one) == 3
  assert rules.FirstStep(LOSS, above=final * 1.9)(one) == math.inf
  assert rules.FirstStep(LOSS, below=final * 1.5, x='tokens')(one) == 3 * 128
  metric = rules.FirstStep(LOSS, below=0.0)
  assert not rules.below(6, at('w1'), metric=metric)(results).holds


def test_all_rules_of_several_have_to_hold(results):
  yes, no = rules.below(9.0, at('w1')), rules.above(9.0, at('w1'))
  assert rules.all_of(yes, yes)(results).holds
  both = rules.all_of(yes, no)
  assert not both(results).holds
  assert len(both(results).numbers) == 2
  parts = rules.never_above(9, 'w1'), rules.never_above(9), rules.never_above(9, 'w4')
  outcome = rules.all_of(*parts)(results)
  own = [part(results).numbers['highest'] for part in parts]
  assert [v for name, v in outcome.numbers.items() if ' at' not in name] == own
  assert {'highest', 'highest at', 'highest (w4)'} <= outcome.numbers.keys()
  nested = rules.all_of(both, rules.all_of(yes, yes, no))(results)
  assert len(nested.numbers) == 5
  assert both.statistics == f'{yes.statistics}; and {no.statistics}'


def test_a_rule_says_its_statistics():
  rule = rules.paired_better('a', 'b', alpha=0.01, metric=LOSS)
  assert rule.statistics == (
    'one-sided paired t-test over seeds of validation/loss, p < 0.01'
  )
  assert rules.below(1.88, tolerance=0.02).statistics == (
    'mean over seeds of the metric at most 1.88, tolerance 0.02'
  )


@pytest.mark.parametrize(
  'rule, arguments',
  [
    (rules.below(1.0), {'high': 1.0, 'low': -math.inf}),
    (rules.better('a', 'b', by=0.0), {'row': 'a', 'than': 'b'}),
    (rules.falling(RATE, tolerance=0.1), {'along': RATE, 'tolerance': 0.1}),
    (rules.never_below(0.0, metric=LOSS), {'floor': 0.0, 'metric': LOSS}),
    (rules.optimum_moves(RATE, factor=2), {'field': RATE, 'factor': 2}),
  ],
)
def test_a_rule_is_its_name_and_what_it_was_given(rule, arguments):
  assert rule.arguments == arguments


def test_the_text_of_a_rule_has_its_arguments_and_no_words():
  one, other = rules.below(1.0), rules.below(1.0, tolerance=0.1)
  assert rule_text.text_of(one) == rule_text.text_of(rules.below(1.0))
  assert rule_text.text_of(one) != rule_text.text_of(other)
  assert 'mean over seeds' not in rule_text.text_of(one)


@pytest.mark.parametrize(
  'rule',
  [
    rules.below(9.0), rules.better('ours', 'base'), rules.paired_better('ours', 'base'),
    rules.equal('ours', 'base', within=1.0), rules.falling(('base', 'ours')),
    rules.ratio('ours', 'base', at_most=9.0),
  ],
  ids=lambda rule: rule.name,
)  # fmt: skip
def test_a_missing_seed_is_not_left_out(tmp_path, rule):
  study = fake_study.make(tmp_path, lambda p: p.axes['seed'] or None)
  with pytest.raises(NotEnoughData, match=r'seeds \[0\] are missing'):
    rule(Results(study))
