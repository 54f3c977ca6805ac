"""Rules tried on made-up results before any run: what raises now would raise then.

Every point answers every metric with a plausible number. A rule that asks for a row, an
axis value or an evaluation set that does not exist, or that raises, is a mistake; one
that cannot do with made-up numbers, or reads the files of a run, is let pass.
"""

import functools
import zlib
from collections.abc import Callable

import numpy as np

from gpt_jax.analysis.results import NotEnoughData, Result, Results, all_points
from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.core.registry import nearest
from gpt_jax.sweeps import costs, states
from gpt_jax.sweeps.experiment import Outcome
from gpt_jax.sweeps.mistakes import Mistake

# Of made-up numbers a fit may not converge, and a difference may be 0.
NUMERICAL = (ArithmeticError, np.linalg.LinAlgError, RuntimeError, ValueError)
SCORES = ('loss', 'perplexity', 'accuracy', 'excess', 'bits_per_byte')
"""Metrics of every evaluation set: their prefix is the name of one."""


def mistakes_of(source, study):
  """Returns the Mistakes of claims, columns and lines of a Study; empty: none."""
  experiment, found = study.experiment, []
  for claim in experiment.claims:
    if callable(claim.rule):
      found.append(_rehearse(source, study, f'claim {claim.name!r}', claim.rule, claim))
  for heading, column in experiment.columns.items():
    found.append(_rehearse(source, study, f'column {heading!r}', _each(column), None))
  for figure in experiment.figures:
    for line in figure.lines:
      if callable(line.value):
        place = f'figure {figure.name!r}, line {line.label!r}'
        found.append(_rehearse(source, study, place, line.value, None))
  return [mistake for mistake in found if mistake is not None]


def _each(column):
  return lambda results: [result.value(column) for result in results]


def _rehearse(source, study, place, rule, claim):
  """Returns the Mistake that `rule` makes with every made-up result, or None."""
  anchor = place.split("'")[-2] if "'" in place else ''
  for make in (_scattered, _falling, _rising):
    try:
      outcome = rule(_made_up(study, make))
    except NotEnoughData:
      return None
    except ConfigError as error:
      return _mistake(source, place, str(error), error, anchor)
    except (OSError, UserError):
      return None  # it reads what a run has written
    except NUMERICAL:
      continue
    except Exception as error:
      text = f'its rule raises {type(error).__name__}: {error}'
      return _mistake(source, place, text, error, anchor)
    if claim is not None and not isinstance(outcome, Outcome):
      text = f'its rule returned {outcome!r}; expected an Outcome'
      return Mistake(f'{place}: {text}', (anchor,))
    return None
  return None


def _mistake(source, place, text, error, anchor):
  told = ' '.join(text.split()).rstrip('.')
  return Mistake(f'{place}: {told}', (anchor,), source.line_of_error(error))


def _made_up(study, make):
  points = all_points(study)
  found = {
    point.name: _MadeUp(point, functools.partial(make, i, len(points)))
    for i, point in enumerate(points)
  }
  return Results(study, found)


def _scattered(i, total, metric):
  return 1.0 + 2.0 * (zlib.crc32(f'{i} {metric}'.encode()) / 2**32)


def _falling(i, total, metric):
  return 3.0 - 2.0 * i / total


def _rising(i, total, metric):
  return 1.0 + 2.0 * i / total


class _MadeUp(Result):
  """A result that has every metric of the evaluation sets of its point."""

  _final: Callable[[str], float]

  def __init__(self, point, final):
    super().__init__(point)
    object.__setattr__(self, '_final', final)

  @property
  def metrics(self):
    names = [f'{name}/loss' for name in self.point.config.eval.sets]
    return {name: self.value(name) for name in names}

  @property
  def intervals(self):
    return [(0.0, 60.0)]

  def value(self, metric):
    if callable(metric):
      return metric(self)
    self._require_set(metric)
    value = self._final(metric)
    return round(1e6 * value) if metric in costs.COSTS else value

  def curve(self, metric, x='step'):
    self._require_set(metric)
    last = states.total_steps(self.point.config)
    steps = np.unique(np.linspace(1, last, min(last, 20)).astype(int))
    values = self._final(metric) * (2.0 - steps / last)
    return (steps if x == 'step' else steps.astype(float)), values

  def _require_set(self, metric):
    name, _, score = str(metric).rpartition('/')
    sets = self.point.config.eval.sets
    if score in SCORES and name not in (*sets, 'train'):
      hint = nearest(name, sets)
      known = f'did you mean {hint!r}?' if hint else f'eval.sets: {", ".join(sets)}'
      raise ConfigError(f'{metric!r}: no evaluation set {name!r}; {known}')
