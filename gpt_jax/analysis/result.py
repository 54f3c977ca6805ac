"""What one run has found: the last evaluation of its training, and its curves."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from gpt_jax.analysis.point_fields import seed_of
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.sweeps import costs
from gpt_jax.sweeps.points import Point
from gpt_jax.tracking import metrics_file
from gpt_jax.workdir.paths import Workdir


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
  """A point that has come to its end, or has diverged."""

  point: Point
  diverged: bool = False
  # Then the experiment's `metric` is the worst there is; others are no number, which
  # fulfils no claim.
  metric: str = ''
  worst: float = math.inf

  @property
  def seed(self):
    return seed_of(self.point)

  @functools.cached_property
  def metrics(self):
    """The last evaluation of the training, `{set/metric: value}`, NaN included."""
    # Not eval.json: `gpt-jax eval` writes another evaluation there.
    sets = tuple(f'{name}/' for name in self.point.config.eval.sets)
    scored = [
      (record['step'], {k: v for k, v in record.items() if k.startswith(sets)})
      for record in self._records
    ]
    last = max((step for step, scores in scored if scores), default=None)
    found = {}
    for step, scores in scored:
      if step == last:
        found |= {k: math.nan if v is None else v for k, v in scores.items()}
    return found

  @functools.cached_property
  def _records(self):
    path = Workdir(self.point.workdir).metrics
    return metrics_file.read_lines(path) if path.exists() else []

  @functools.cached_property
  def _columns(self):
    return metrics_file.by_name(self._records)

  @functools.cached_property
  def intervals(self):
    """When the run was at work, [(begin, end), ...] in seconds since 1970."""
    return costs.intervals(self.point.workdir)

  @functools.cached_property
  def _costs(self):
    config = costs.read_config(self.point.workdir)
    found = {name: cost(config) for name, cost in costs.OF_CONFIG.items()}
    return found | {'seconds': float(sum(end - begin for begin, end in self.intervals))}

  def curve(self, metric, x='step'):
    """Returns (x, values) of a metric over the training, as arrays.

    `x`: `step`, `tokens` or `seconds` of training.
    """
    pairs = self._columns.get(metric, [])
    if not pairs and metric not in self.metrics:
      raise self._unknown(metric)
    steps = np.array([step for step, _ in pairs], int)
    values = np.array([value for _, value in pairs], float)
    if x == 'step':
      return steps, values
    if x == 'tokens':
      return _at(self._columns, 'tokens', steps), values
    if x == 'seconds':
      times = _at(self._columns, 'time', steps)
      return costs.seconds_at(self.intervals, times), values
    raise ConfigError(f'curve: x={x!r}; expected one of step, tokens, seconds.')

  def value(self, metric) -> Any:
    """Returns the final value of a metric name, or `metric(self)` of a function.

    Names are those of metrics.jsonl, and those of `costs.COSTS`.
    """
    if metric in costs.COSTS:
      return self._costs[metric]
    if self.diverged:
      return self.worst if metric == self.metric else math.nan
    if callable(metric):
      return metric(self)
    if metric in self.metrics:
      return self.metrics[metric]
    _, values = self.curve(metric)
    return float(values[-1])

  def names(self):
    """Returns the names that `value` knows, functions aside."""
    return sorted({*self.metrics, *self._columns, *costs.COSTS} - {'time'})

  def _unknown(self, metric):
    known = self.names()
    hint = nearest(metric, known)
    listed = ', '.join(name for name in known if not name.startswith('train/'))
    return ConfigError(
      f'{self.point.name}: no metric {metric!r}'
      + (f'; did you mean {hint!r}?' if hint else f'; it has {listed}.')
    )


def _at(columns, name, steps):
  """Returns the column `name` at `steps`; NaN where it has none."""
  values = dict(columns.get(name, []))
  return np.array([values.get(step, math.nan) for step in steps.tolist()], float)
