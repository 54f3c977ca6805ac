"""A metric over the values of an axis: its means over seeds, and how it scales."""

import functools
import math

from gpt_jax.analysis import fits
from gpt_jax.analysis.rules import Rule
from gpt_jax.sweeps.experiment import Outcome


def means(results, field, metric=None):
  """Returns `{value of the axis: mean over seeds}`, numbers in rising order.

  `metric` is a name or a function of a result, None that of the experiment. A run that
  has diverged makes the experiment's metric infinite. NotEnoughData unless all seeds
  are there; ConfigError where another axis is left.
  """
  metric = results.study.experiment.metric if metric is None else metric
  values = results.axis(field)
  if all(isinstance(value, int | float) for value in values):
    values = sorted(values)
  return {value: results.where(**{field: value}).mean(metric) for value in values}


def at_smallest(row, field):
  """Returns the function from Results to those of a row at its least axis value."""
  return functools.partial(_at_end, row=row, field=field, end=min)


def at_largest(row, field):
  """Returns the function from Results to those of a row at its largest axis value."""
  return functools.partial(_at_end, row=row, field=field, end=max)


def exponent(results, field, metric=None):
  """Returns p of `metric ~ field^p`: a slope in logarithms through means over seeds."""
  found = means(results, field, metric)
  return fits.log_log_slope(list(found), list(found.values()))


def smaller_at_each(which, than, field, metric, *, from_value=None):
  """Returns the Rule that means of `metric` are smaller than another's, value by value.

  `which`, `than`: functions from Results to Results of one row and setting. `field`: an
  axis of numbers, of which those from `from_value` on count. What has diverged is
  larger than any number.
  """

  def check(results):
    larger = than(results)
    one, other = (means(part, field, metric) for part in (which(results), larger))
    values = [v for v in one if from_value is None or v >= from_value]
    numbers = {f'{v:g}': f'{one[v]:.4g} against {other[v]:.4g}' for v in values}
    diverged = {
      v for v in values if any(r.diverged for r in larger.where(**{field: v}))
    }
    holds = [
      math.isfinite(one[v]) and (v in diverged or one[v] < other[v]) for v in values
    ]
    return Outcome(bool(holds) and all(holds), numbers)

  given = dict(
    which=which, than=than, field=field, metric=metric, from_value=from_value
  )
  words = f'means over seeds of {getattr(metric, "__name__", metric)}, smaller at each'
  words += f' {field}' + (f' from {from_value:g} on' if from_value is not None else '')
  return Rule('smaller_at_each', given, words, check)


def keeps_its_size(row, field, metric, *, within=0.1, beside=()):
  """Returns the Rule that the exponent of `metric` over `field` is within +-`within`.

  With activations over the width it is the coordinate check of muP (Yang et al. 2022,
  arXiv:2203.03466, appendix D.1). `beside`: rows whose exponent is shown, not judged.
  """

  def check(results):
    found = {
      name: exponent(results.where(row=name), field, metric) for name in (row, *beside)
    }
    numbers = {f'exponent, {name}': value for name, value in found.items()}
    return Outcome(abs(found[row]) <= within, numbers)

  given = dict(row=row, field=field, metric=metric, within=within, beside=beside)
  words = f'means over seeds; exponent of {metric} over {field} within +-{within:g}'
  return Rule('keeps_its_size', given, words, check)


def _at_end(results, row, field, end):
  part = results.where(row=row)
  return part.where(**{field: end(part.axis(field))})
