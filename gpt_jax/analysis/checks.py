"""Rules, columns and figures tried on made-up results, before there is a run.

Every point answers every metric that it will have with a plausible number. A rule that
asks for a row, an axis value or a metric that does not exist, or that raises, is a
mistake; one that cannot do with made-up numbers, or reads the files of a run, is let
pass.
"""

import functools
import zlib
from collections.abc import Callable

import numpy as np

from gpt_jax.analysis import metric_names
from gpt_jax.analysis.point_fields import all_points, value_of
from gpt_jax.analysis.result import Result
from gpt_jax.analysis.results import NotEnoughData, Results
from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.sweeps import costs, states, validation
from gpt_jax.sweeps.algebra import ROW
from gpt_jax.sweeps.experiment import Outcome
from gpt_jax.sweeps.mistakes import Mistake

# Of made-up numbers a fit may not converge, a difference may be 0, and a logarithm
# negative. Any other ValueError has to come whatever the numbers are.
NUMERICAL = (ArithmeticError, np.linalg.LinAlgError, RuntimeError)
DOMAIN = ('math domain error', 'did not converge')
OVER_TRAINING = ('step', 'tokens', 'seconds')


def mistakes_of(source, study):
  """Returns the Mistakes of claims, metrics and figures of a Study; empty: none."""
  experiment = study.experiment
  found = [_of_metric(study, experiment.metric, 'metric', experiment.metric)]
  for claim in experiment.claims:
    if callable(claim.rule):
      place = f'claim {claim.name!r}'
      found.append(_try(source, study, place, claim.rule, claim.name, Outcome))
  for heading, column in experiment.columns.items():
    place = f'column {heading!r}'
    if callable(column):
      found.append(_try(source, study, place, _each(column), heading))
    else:
      found.append(_of_metric(study, column, place, heading, column))
  for figure in experiment.figures:
    found += _of_figure(source, study, figure)
  return [mistake for mistake in found if mistake is not None]


def _of_figure(source, study, figure):
  """Yields the Mistakes of a Figure, and None where there is none."""
  place = f'figure {figure.name!r}'
  for line in figure.lines:
    if callable(line.value):
      at = f'{place}, line {line.label!r}'
      yield _try(source, study, at, line.value, line.label)
  if figure.draw is not None:
    return  # it needs axes, and none of the rest
  if figure.select is not None:
    yield _try(source, study, f'{place}, select', figure.select, figure.name, Results)
  yield _of_metric(study, figure.y, f'{place}: y', figure.name, figure.y)
  for role in ('x', 'by', 'panels'):
    field = getattr(figure, role)
    if field and field != ROW and field not in (*OVER_TRAINING, *costs.COSTS):
      yield _of_field(study, field, f'{place}: {role}', figure.name, field)


def _of_metric(study, metric, place, *anchors):
  """Returns the Mistake of a metric that no point of the study will have, or None."""
  if callable(metric):
    return None
  error = None
  for point in study.points:
    try:
      return metric_names.require_known(metric, point.config)
    except ConfigError as one:
      error = error or one
  return error and Mistake(f'{place}: {str(error).rstrip(".")}', anchors)


def _of_field(study, field, place, *anchors):
  """Returns the Mistake of a field, or metric, that not all points have, or None."""
  if '.' in field and not validation.is_config_field(field):
    return None  # told already
  for point in study.points:
    try:
      value_of(point, field)
    except ConfigError as error:
      try:
        metric_names.require_known(field, point.config)
      except ConfigError:
        return Mistake(f'{place}: {str(error).rstrip(".")}', anchors)
  return None


def _each(column):
  return lambda results: [result.value(column) for result in results]


def _try(source, study, place, rule, anchor, returns=object):
  """Returns the Mistake that `rule` makes with every made-up result, or None."""
  raised = {}
  for make in (_scattered, _falling, _rising, _small, _large):
    try:
      outcome = rule(_synthetic(study, make))
    except NotEnoughData:
      return None
    except ConfigError as error:
      return _mistake(source, place, str(error), error, anchor)
    except (OSError, UserError):
      return None  # it reads what a run has written
    except (NotImplementedError, RecursionError) as error:  # RuntimeErrors, too
      text = f'raises {type(error).__name__}: {error}'
      return _mistake(source, place, text, error, anchor)
    except NUMERICAL:
      raised[''] = None
    except ValueError as error:
      raised[f'raises ValueError: {error}'] = error
    except Exception as error:
      text = f'raises {type(error).__name__}: {error}'
      return _mistake(source, place, text, error, anchor)
    else:
      if isinstance(outcome, returns):
        return None
      wanted = 'an Outcome' if returns is Outcome else 'Results'
      text = f'returned {outcome!r}; expected {wanted}'
      return Mistake(f'{place}: {text}', (anchor,))
  (text, error), *others = raised.items()
  if error is None or others or any(words in text for words in DOMAIN):
    return None
  return _mistake(source, place, f'{text}, whatever the numbers', error, anchor)


def _mistake(source, place, text, error, anchor):
  told = ' '.join(text.split()).rstrip('.')
  return Mistake(f'{place}: {told}', (anchor,), source.line_of_error(error))


def _synthetic(study, make):
  points = all_points(study)
  found = {
    point.name: _SyntheticResult(point, functools.partial(make, i, len(points)))
    for i, point in enumerate(points)
  }
  return Results(study, found)


def _scattered(i, total, metric):
  return 1.0 + 2.0 * (zlib.crc32(f'{i} {metric}'.encode()) / 2**32)


def _falling(i, total, metric):
  return 3.0 - 2.0 * i / total


def _rising(i, total, metric):
  return 1.0 + 2.0 * i / total


def _small(i, total, metric):
  return 1e-3 * _scattered(i, total, metric)


def _large(i, total, metric):
  return 1e3 * _scattered(i, total, metric)


class _SyntheticResult(Result):
  """A result that has every metric of the evaluation sets of its point."""

  _final: Callable[[str], float]

  def __init__(self, point, final):
    super().__init__(point)
    object.__setattr__(self, '_final', final)

  @property
  def metrics(self):
    sets = self.point.config.eval.sets
    names = [f'{name}/{score}' for name in sets for score in metric_names.SCORES]
    return {name: self._final(name) for name in names}

  @property
  def intervals(self):
    return [(0.0, 60.0)]

  def value(self, metric):
    if callable(metric):
      return metric(self)
    metric_names.require_known(metric, self.point.config)
    value = self._final(metric)
    return round(1e6 * value) if metric in costs.COSTS else value

  def curve(self, metric, x='step'):
    metric_names.require_known(metric, self.point.config)
    last = states.total_steps(self.point.config)
    steps = np.unique(np.linspace(1, last, min(last, 20)).astype(int))
    values = self._final(metric) * (2.0 - steps / last)
    return (steps if x == 'step' else steps.astype(float)), values
