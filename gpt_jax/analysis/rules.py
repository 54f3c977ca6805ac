"""The usual pass rules of claims; each says its statistics in words.

  Claim('qk norm', ..., rule=rules.better('qk_norm', than='base', by=0.01))
  Claim('floor', ..., rule=rules.never_below(0.0, metric='validation/excess'))

`which`, `row` and `other` choose results: the name of a row, a dict of fields
(`{'row': 'base', 'model.num_layers': 2}`), or a function from Results to Results; None
is all of them. `metric` is a name or a function of a result, None that of the
experiment. `at_best` names an axis: each row is taken at its own best value there, by
`metric`; `higher`: whether more of it is better, None as the experiment says.
A seed that is missing is never left out: there is not enough data then.
"""

import dataclasses
import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpt_jax.analysis import parts, seed_statistics
from gpt_jax.analysis.results import NotEnoughData, best_of
from gpt_jax.sweeps.experiment import Outcome


@dataclasses.dataclass(frozen=True)
class Rule:
  """A pass rule for a Claim: its name and arguments are what it is."""

  name: str
  arguments: Mapping[str, Any]
  statistics: str = dataclasses.field(compare=False)
  check: Callable = dataclasses.field(compare=False, repr=False)

  def __call__(self, results):
    return self.check(results)


@dataclasses.dataclass(frozen=True)
class FirstStep:
  """A metric of a result: where its curve first reaches a level; infinity if nowhere.

  `x`: in steps, `tokens` or `seconds`.
  """

  metric: str
  below: float | None = None
  above: float | None = None
  x: str = 'step'

  def __call__(self, result):
    x, values = result.curve(self.metric, self.x)
    if self.below is not None:
      there = values <= self.below
    else:
      there = values >= self.above
    return float(x[np.argmax(there)]) if np.any(there) else math.inf

  def __str__(self):
    side, level = ('<=', self.below) if self.above is None else ('>=', self.above)
    return f'first {self.x} with {self.metric} {side} {level:g}'


def below(level, which=None, *, metric=None, tolerance=0.0, higher=None, at_best=None):
  """Returns the Rule that each mean over seeds is at most `level + tolerance`."""
  options: Any = dict(
    metric=metric, tolerance=tolerance, higher=higher, at_best=at_best
  )
  return between(-math.inf, level, which, **options)


def above(level, which=None, *, metric=None, tolerance=0.0, higher=None, at_best=None):
  """Returns the Rule that each mean over seeds is at least `level - tolerance`."""
  options: Any = dict(
    metric=metric, tolerance=tolerance, higher=higher, at_best=at_best
  )
  return between(level, math.inf, which, **options)


def between(
  low, high, which=None, *, metric=None, tolerance=0.0, higher=None, at_best=None
):
  """Returns the Rule that means over seeds lie in [low - tolerance, high + tolerance].

  Where `which` leaves several rows or axis values, each of them has to.
  """

  def check(results):
    part = parts.of(results, which, metric, at_best, higher)
    means = {
      one.describe(): one.mean(parts.metric_of(one, metric)) for one in part.groups()
    }
    holds = all(low - tolerance <= m <= high + tolerance for m in means.values())
    return Outcome(bool(means) and holds, means)

  limits = [f'at least {low:g}'] if low > -math.inf else []
  limits += [f'at most {high:g}'] if high < math.inf else []
  words = f'mean over seeds of {parts.name_of(metric)} {" and ".join(limits)}'
  words += f', tolerance {tolerance:g}' * bool(tolerance)
  return _rule(between, locals(), words, check)


def better(row, than, *, by=0.0, metric=None, higher=None, at_best=None):
  """Returns the Rule that `row` is at least `by` better in the mean over seeds."""

  def check(results):
    one, other = parts.two(results, row, than, metric, at_best, higher)
    gain = parts.gain(results, one, other, higher)
    numbers = parts.means(row, one, than, other) | {'better by': gain}
    return Outcome(gain >= by, numbers)

  words = f'difference of means over seeds of {parts.name_of(metric)}, at least {by:g}'
  return _rule(better, locals(), words, check)


def paired_better(
  row, than, *, alpha=0.05, by=0.0, metric=None, higher=None, at_best=None
):
  """Returns the Rule that `row` beats `than` by more than `by`, seed by seed.

  One-sided paired t-test over the seeds that both have (`scipy.stats.ttest_rel`).
  """

  def check(results):
    one, other = parts.two(results, row, than, metric, at_best, higher)
    if len(one) < 2:
      raise NotEnoughData(f'{row}: a paired test needs two seeds.')
    is_higher = parts.is_higher(results, higher)
    p_value = seed_statistics.paired_p(
      [one[seed] for seed in sorted(one)],
      [other[seed] for seed in sorted(one)],
      'greater' if is_higher else 'less',
      by if is_higher else -by,
    )
    gain = parts.gain(results, one, other, higher)
    numbers = parts.means(row, one, than, other) | {'better by': gain, 'p': p_value}
    return Outcome(p_value < alpha and gain > by, numbers)

  words = (
    f'one-sided paired t-test over seeds of {parts.name_of(metric)}, p < {alpha:g}'
  )
  words += f', for a gain above {by:g}' * bool(by)
  return _rule(paired_better, locals(), words, check)


def falling(
  along, which=None, *, tolerance=0.0, metric=None, higher=None, at_best=None
):
  """Returns the Rule that means over seeds fall along an axis, from each to the next.

  `along`: a config field, or the names of rows in order. A step may go up by at most
  `tolerance`.
  """
  return _monotone(falling, -1, **locals())


def rising(along, which=None, *, tolerance=0.0, metric=None, higher=None, at_best=None):
  """Returns the Rule that means over seeds rise along an axis; see `falling`."""
  return _monotone(rising, 1, **locals())


def equal(
  row, other, *, within, metric=None, each_seed=False, higher=None, at_best=None
):
  """Returns the Rule that two rows differ by at most `within`.

  In their means over seeds, or with `each_seed` for every seed.
  """

  def check(results):
    one, two = parts.two(results, row, other, metric, at_best, higher)
    gaps = [abs(one[seed] - two[seed]) for seed in one]
    gap = max(gaps) if each_seed else abs(parts.mean(one) - parts.mean(two))
    return Outcome(
      gap <= within, parts.means(row, one, other, two) | {'difference': gap}
    )

  what = 'largest difference of a seed' if each_seed else 'difference of means'
  words = f'{what} of {parts.name_of(metric)}, at most {within:g}'
  return _rule(equal, locals(), words, check)


def ratio(
  row,
  other,
  *,
  at_least=0.0,
  at_most=math.inf,
  metric=None,
  higher=None,
  at_best=None,
):
  """Returns the Rule that the mean of `row` over that of `other` lies within limits."""

  def check(results):
    one, two = parts.two(results, row, other, metric, at_best, higher)
    with np.errstate(divide='ignore', invalid='ignore'):
      quotient = float(np.divide(parts.mean(one), parts.mean(two)))
    numbers = parts.means(row, one, other, two) | {'ratio': quotient}
    return Outcome(at_least <= quotient <= at_most, numbers)

  limits = [f'at least {at_least:g}'] if at_least > 0 else []
  limits += [f'at most {at_most:g}'] if at_most < math.inf else []
  words = (
    f'ratio of means over seeds of {parts.name_of(metric)}, {" and ".join(limits)}'
  )
  return _rule(ratio, locals(), words, check)


def never_below(floor, which=None, *, metric=None, tolerance=0.0, all_steps=False):
  """Returns the Rule that no point passes below `floor - tolerance`.

  `all_steps`: at no evaluation during the training either.
  """
  return _bound(never_below, -1, floor, locals())


def never_above(ceiling, which=None, *, metric=None, tolerance=0.0, all_steps=False):
  """Returns the Rule that no point passes above `ceiling + tolerance`."""
  return _bound(never_above, 1, ceiling, locals())


def optimum_stays(field, across='row', *, factor, which=None, metric=None, higher=None):
  """Returns the Rule that the best value of an axis moves by at most `factor`.

  `across`: `row`, or another axis; for each of its values the best value of `field` is
  that with the best mean over seeds.
  """
  return _optimum(optimum_stays, **locals())


def optimum_moves(field, across='row', *, factor, which=None, metric=None, higher=None):
  """Returns the Rule that the best value of an axis moves by at least `factor`."""
  return _optimum(optimum_moves, **locals())


def all_of(*rules):
  """Returns the Rule that all of `rules` hold."""

  def check(results):
    outcomes = [rule(results) for rule in rules]
    numbers = {}
    for i, (rule, outcome) in enumerate(zip(rules, outcomes, strict=True)):
      given = getattr(rule, 'arguments', {})
      about = [given.get(name) for name in ('than', 'which', 'metric')]
      about = [one for one in about if isinstance(one, str)][:1]
      for name, value in outcome.numbers.items():
        parts = itertools.chain(about, itertools.count(i + 1))  # some may be taken
        names = itertools.chain([name], (f'{name} ({one})' for one in parts))
        numbers[next(one for one in names if one not in numbers)] = value
    return Outcome(all(outcome.holds for outcome in outcomes), numbers)

  words = '; and '.join(getattr(rule, 'statistics', '') or '...' for rule in rules)
  return Rule('all_of', {'rules': rules}, words, check)


def _rule(make, arguments, words, check):
  """Returns the Rule that `make` makes of `arguments`, its `locals()`.

  Arguments at their defaults are left out: an option that is added to `make` leaves the
  rules of before what they were.
  """
  parameters = inspect.signature(make).parameters
  given = {
    name: arguments[name]
    for name, parameter in parameters.items()
    if arguments[name] is not parameter.default and arguments[name] != parameter.default
  }
  return Rule(make.__name__, given, words, check)


def _monotone(make, sign, *, along, which, tolerance, metric, higher, at_best):
  def check(results):
    part = parts.of(results, which, metric, at_best, higher)
    is_field = isinstance(along, str)
    field, values = (along, part.axis(along)) if is_field else ('row', list(along))
    if is_field and all(isinstance(value, int | float) for value in values):
      values = sorted(values)
    means = {
      value: parts.where(part, {field: value}).mean(parts.metric_of(part, metric))
      for value in values
    }
    steps = sign * np.diff(list(means.values()))
    shown = {str(value): mean for value, mean in means.items()}
    return Outcome(len(values) > 1 and bool(np.all(steps >= -tolerance)), shown)

  where = along if isinstance(along, str) else ' -> '.join(along)
  words = f'means over seeds of {parts.name_of(metric)} {make.__name__} along {where}'
  words += f', tolerance {tolerance:g} a step' * bool(tolerance)
  return _rule(make, locals(), words, check)


def _bound(make, sign, bound, arguments):
  which, metric, tolerance, all_steps = (
    arguments[name] for name in ('which', 'metric', 'tolerance', 'all_steps')
  )

  def check(results):
    extreme, where = -math.inf, None
    part = parts.of(results, which)
    for one in part:
      values = [one.value(parts.metric_of(part, metric))]
      if all_steps:
        values += one.curve(parts.metric_of(part, metric))[1].tolist()
      worst = float(np.max([sign * value for value in values]))  # NaN where one is
      if not worst <= extreme:
        extreme, where = worst, one.point.name
      if math.isnan(worst):
        break
    word = 'highest' if sign > 0 else 'lowest'
    numbers = {word: sign * extreme, f'{word} at': where} if where else {}
    # NaN is not on the right side of anything.
    return Outcome(where is not None and extreme <= sign * bound + tolerance, numbers)

  words = f'{"highest" if sign > 0 else "lowest"} {parts.name_of(metric)} of all points'
  words += ' and evaluations' * all_steps
  words += f', {make.__name__.replace("_", " ")} {bound:g}'
  words += f', tolerance {tolerance:g}' * bool(tolerance)
  return _rule(make, arguments, words, check)


def _optimum(make, *, field, across, factor, which, metric, higher):
  stays = make is optimum_stays

  def check(results):
    part = parts.of(results, which)
    best = {}
    for value in part.axis(across):
      own = parts.where(part, {across: value})
      means = {
        x: parts.where(own, {field: x}).mean(parts.metric_of(part, metric))
        for x in own.axis(field)
      }
      best[value] = best_of(means, parts.is_higher(results, higher))
    spread = max(best.values()) / min(best.values())
    numbers = {f'best at {value}': x for value, x in best.items()} | {'factor': spread}
    # A power of two on the grid must not fail by its rounding.
    holds = spread <= factor * (1 + 1e-6) if stays else spread >= factor * (1 - 1e-6)
    return Outcome(holds, numbers)

  words = (
    f'best {field} by the mean over seeds of {parts.name_of(metric)}, across {across}:'
  )
  words += f' largest over smallest at {"most" if stays else "least"} {factor:g}'
  return _rule(make, locals(), words, check)
