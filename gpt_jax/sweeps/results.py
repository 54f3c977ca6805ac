"""What the runs of a study have found: metrics of its points, read from workdirs."""

import dataclasses
import functools

import numpy as np

from gpt_jax.core.errors import UserError
from gpt_jax.sweeps.points import Point, Study
from gpt_jax.tracking import metrics_file
from gpt_jax.workdir import files
from gpt_jax.workdir.paths import Workdir


class NotEnoughData(UserError):
  """A rule needs a result that is not there yet."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
  """A finished point."""

  point: Point

  @property
  def seed(self):
    return self.point.config.seed

  @functools.cached_property
  def metrics(self):
    """The last evaluation, `{set/metric: value}`."""
    saved = files.read_json(Workdir(self.point.workdir).eval)
    return {
      f'{name}/{key}': value
      for name, metrics in saved.items()
      if isinstance(metrics, dict)
      for key, value in metrics.items()
    }

  @functools.cached_property
  def _columns(self):
    return metrics_file.read(Workdir(self.point.workdir).metrics)

  def curve(self, metric):
    """Returns (steps, values) of a metric over the training, as arrays."""
    pairs = self._columns.get(metric, [])
    return np.array([s for s, _ in pairs]), np.array([v for _, v in pairs], float)

  def value(self, metric):
    """Returns the final value of a metric name, or `metric(self)` of a function."""
    if callable(metric):
      return metric(self)
    if metric in self.metrics:
      return self.metrics[metric]
    _, values = self.curve(metric)
    if not len(values):
      raise NotEnoughData(f'{self.point.name}: has no metric {metric!r}.')
    return float(values[-1])


class Results:
  """The finished points of a Study, or a part of them."""

  def __init__(self, study: Study, found=None):
    self.study = study
    self._found = _finished(study) if found is None else tuple(found)

  def __iter__(self):
    return iter(self._found)

  def __len__(self):
    return len(self._found)

  def where(self, row=None, **axes):
    """Returns the Results of a row; `axes`: config fields, with `__` for the dot."""
    wanted = {field.replace('__', '.'): value for field, value in axes.items()}
    kept = [
      one
      for one in self
      if row in (None, one.point.row)
      and all(one.point.axes.get(field) == value for field, value in wanted.items())
    ]
    return Results(self.study, kept)

  def by_seed(self, metric):
    """Returns `{seed: value}`; NotEnoughData unless all seeds of the size are there."""
    found = {one.seed: one.value(metric) for one in self}
    wanted = self.study.experiment.sizes[self.study.size].seeds
    if missing := [seed for seed in wanted if seed not in found]:
      raise NotEnoughData(f'seeds {missing} are missing.')
    return {seed: found[seed] for seed in sorted(found)}

  def mean(self, metric):
    """Returns the mean over seeds; NotEnoughData unless all of them are there."""
    return float(np.mean(list(self.by_seed(metric).values())))

  def axis(self, field):
    """Returns the values of an axis, in their order in the sweep."""
    return list(dict.fromkeys(one.point.axes[field] for one in self))


def is_done(point):
  """Returns whether a point's run has come to its end."""
  # eval.json of the last step: loop.train writes it before the last checkpoint.
  workdir = Workdir(point.workdir)
  if not workdir.eval.exists() or not workdir.checkpoints.is_dir():
    return False
  saved = files.read_json(workdir.eval)
  return saved.get('step') == point.config.train.steps


def _finished(study):
  return tuple(Result(point) for point in study.points if is_done(point))
