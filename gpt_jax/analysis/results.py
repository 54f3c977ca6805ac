"""What the runs of a study have found: metrics of its points, read from workdirs.

results.where(row='ours', optimizer__learning_rate=1e-3).mean('validation/loss')
results.best_over('optimizer.learning_rate').where(row='ours').by_seed('test/loss')
"""

import contextlib
import dataclasses
import functools
import io
import math

import numpy as np

from gpt_jax.analysis.point_fields import (
  all_points,
  is_same,
  require_known,
  seed_of,
  value_of,
  varied_axes,
)
from gpt_jax.analysis.result import Result
from gpt_jax.core.errors import ConfigError, DivergedError, UserError
from gpt_jax.storage.urls import is_remote
from gpt_jax.sweeps import states
from gpt_jax.sweeps.points import Study


class NotEnoughData(UserError):
  """A rule needs a result that is not there yet."""


@dataclasses.dataclass(frozen=True, eq=False)
class MeanCurve:
  """A metric over the training, averaged over seeds at the steps that all have."""

  x: np.ndarray
  mean: np.ndarray
  spread: np.ndarray  # sample standard deviation over seeds; 0 of a single one
  num_seeds: int

  @property
  def low(self):
    return self.mean - self.spread

  @property
  def high(self):
    return self.mean + self.spread


@dataclasses.dataclass(eq=False)
class Evidence:
  """The folders that a rule has looked at: the evidence of its verdict."""

  used: set = dataclasses.field(default_factory=set)
  missing: set = dataclasses.field(default_factory=set)  # not finished


class Results:
  """The finished points of a Study, or a part of them."""

  def __init__(self, study: Study, found=None, points=None, evidence=None):
    self.study = study
    self.evidence = Evidence() if evidence is None else evidence
    self.points = all_points(study) if points is None else tuple(points)
    self.found = _finished(study) if found is None else found

  def __iter__(self):
    return iter(self._read())

  def __len__(self):
    return len(self._read())

  @property
  def missing(self):
    """The points of this part that are not finished."""
    return tuple(point for point in self.points if point.name not in self.found)

  def fresh(self):
    """Returns the same Results with evidence of their own."""
    return Results(self.study, self.found, self.points)

  def where(self, row=None, **axes):
    """Returns the Results of a row; `axes`: config fields, with `__` for the dot."""
    wanted = {field.replace('__', '.'): value for field, value in axes.items()}
    if row is not None:
      wanted = {'row': row} | wanted
    for field, value in wanted.items():
      require_known(self.study, field, value)
    return self.only(
      lambda point: all(
        is_same(value_of(point, field), value) for field, value in wanted.items()
      )
    )

  def only(self, where):
    """Returns the Results of the points for which the predicate `where` is true."""
    kept = [point for point in self.points if where(point)]
    return Results(self.study, self.found, kept, self.evidence)

  def by_seed(self, metric):
    """Returns `{seed: value}`; NotEnoughData unless all seeds are there.

    Raises ConfigError where a seed has several points.
    """
    self._require_one_point_per_seed()
    found = {one.seed: one.value(metric) for one in self._read()}
    if absent := sorted(seed_of(point) for point in self.missing):
      raise NotEnoughData(f'{self.describe()}: seeds {absent} are missing.')
    return {seed: found[seed] for seed in sorted(found)}

  def mean(self, metric):
    """Returns the mean over seeds; NotEnoughData unless all of them are there."""
    return float(np.mean(list(self.by_seed(metric).values())))

  def curve(self, metric, x='step'):
    """Returns the MeanCurve of a metric over the finished seeds, at least one."""
    self._require_one_point_per_seed()
    curves = [one.curve(metric, x) for one in self._read()]
    steps = [one.curve(metric)[0] for one in self._read()]
    if not curves:
      raise NotEnoughData(f'{self.describe()}: no point is finished.')
    common = functools.reduce(np.intersect1d, steps)
    picked = [np.isin(own, common) for own in steps]
    values = [y[keep] for (_, y), keep in zip(curves, picked, strict=True)]
    xs = [x[keep] for (x, _), keep in zip(curves, picked, strict=True)]
    num = len(curves)
    spread = np.std(values, axis=0, ddof=1) if num > 1 else np.zeros(len(common))
    return MeanCurve(np.mean(xs, axis=0), np.mean(values, axis=0), spread, num)

  def axis(self, field):
    """Returns the values of an axis, `row` or a config field, in the sweep's order."""
    return list(dict.fromkeys(value_of(point, field) for point in self.points))

  def groups(self, without=()):
    """Returns the Results of each row and combination of axes, seeds together.

    The axes in `without` are left together as well.
    """
    together = {}
    for point in self.points:
      together.setdefault(_group(point, ('seed', *without)), []).append(point)
    return [
      Results(self.study, self.found, points, self.evidence)
      for points in together.values()
    ]

  def best_over(self, field, metric=None, higher=None):
    """Returns the Results of each group at its own best value of the axis `field`.

    Best is the lowest mean over seeds of `metric` (the experiment's), or the highest;
    what is not finite is worst. NotEnoughData unless all points are there.
    """
    metric = self.study.experiment.metric if metric is None else metric
    higher = self.study.experiment.higher_is_better if higher is None else higher
    kept = set()
    for group in self.groups(without=(field,)):
      parts = {}
      for point in group.points:
        parts.setdefault(value_of(point, field), []).append(point)
      means = {
        value: Results(self.study, self.found, points, self.evidence).mean(metric)
        for value, points in parts.items()
      }
      kept |= {point.name for point in parts[best_of(means, higher)]}
    return self.only(lambda point: point.name in kept)

  def describe(self):
    """Returns the rows and axis values of this part, in words."""
    if not self.points:
      return 'no point of the study'
    fields = ['row', *dict.fromkeys(f for p in self.points for f in p.axes)]
    parts = []
    for field in fields:
      values = self.axis(field)
      if (
        field != 'seed'
        and len(values) == 1
        and field in ('row', *varied_axes(self.study))
      ):
        parts.append(str(values[0]) if field == 'row' else f'{field}={values[0]}')
    return ', '.join(parts) or 'the study'

  def _read(self):
    found = [self.found[p.name] for p in self.points if p.name in self.found]
    self.evidence.used |= {one.point.workdir.name for one in found}
    self.evidence.missing |= {point.workdir.name for point in self.missing}
    return found

  def _require_one_point_per_seed(self):
    if not self.points:
      raise NotEnoughData('no point of the study at this size is meant.')
    seeds = [seed_of(point) for point in self.points]
    if len(seeds) == len(set(seeds)):
      return
    fields = ['row', *dict.fromkeys(f for p in self.points for f in p.axes)]
    several = {f: self.axis(f) for f in fields if f != 'seed' and len(self.axis(f)) > 1}
    shown = '; '.join(f'{f}: {", ".join(map(str, v))}' for f, v in several.items())
    arguments = ', '.join(f'{field.replace(".", "__")}=...' for field in several)
    raise ConfigError(
      f'a seed has several points ({shown}): choose one value by where({arguments}), or'
      ' the best one by best_over(FIELD).'
    )


def best_of(means, higher=False):
  """Returns the key of the best of `{key: mean}`; what is not finite is worst."""
  sign = -1 if higher else 1
  return min(
    means, key=lambda k: sign * means[k] if math.isfinite(means[k]) else math.inf
  )


def _finished(study):
  read = functools.partial(_read_result, study.experiment)
  # Of a thousand points, a thousand notes on configs of earlier versions.
  with contextlib.redirect_stderr(io.StringIO()):
    found = states.of_each(read, all_points(study))
  return {point.name: result for point, result in found.items() if result}


def _read_result(experiment, point):
  """Returns the Result of a point, None of one that has not ended."""
  if states.is_done(point):
    result = Result(point)
  elif _has_diverged(point):
    worst = -math.inf if experiment.higher_is_better else math.inf
    result = Result(point, True, experiment.metric, worst)
  else:
    return None
  if is_remote(point.workdir):  # read with those of other points, not when asked for
    _ = result.metrics, result.intervals
  return result


def _has_diverged(point):
  failure = states.read_failure(point) or {}
  # It would again: a run repeats its steps.
  return (
    failure.get('exit_code') == DivergedError.exit_code
    and states.state_of(point).kind == states.FAILED
  )


def _group(point, without):
  axes = [(f, str(v)) for f, v in point.axes.items() if f not in without]
  return (point.row, *axes)
