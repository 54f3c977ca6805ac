"""What a figure shows: means over seeds, their spread and the range of an axis."""

import dataclasses
import math
from typing import Any

import numpy as np

from gpt_jax.analysis import point_fields
from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import costs, loading
from gpt_jax.sweeps.algebra import ROW

OVER_TRAINING = ('step', 'tokens', 'seconds')
DIVERGED = 'diverged'
MIN_DATA_SHARE = 0.25  # of an axis, whatever reference lines there are
MARGIN = 0.06  # of an axis, on either side


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
  """One curve, or one group of dots: P places, each with S seeds."""

  key: Any  # value of `by`; gives the colour
  variant: tuple  # values of axes that are neither x, by, panels nor seed
  key_label: str
  variant_label: str
  x: tuple  # P
  values_SP: np.ndarray  # nan where a seed has no value

  @property
  def label(self):
    return ', '.join(filter(None, (self.key_label, self.variant_label)))

  @property
  def mean(self):
    return np.nanmean(self.values_SP, axis=0)

  @property
  def low(self):
    return np.nanmin(self.values_SP, axis=0)

  @property
  def high(self):
    return np.nanmax(self.values_SP, axis=0)

  @property
  def num_seeds(self):
    return len(self.values_SP)


def collect(figure, results):
  """Returns `{panel: [Series]}` of a Figure; rows without its metric are left out.

  Means are over seeds alone: settings that differ in another axis have curves of their
  own. Raises ConfigError for a metric that no point has.
  """
  over_training = figure.x in OVER_TRAINING
  results = selected(figure, results)
  taken = [name for name in (figure.panels, figure.by) if name]
  taken += [] if over_training else [figure.x]
  others = _other_axes(results, taken)
  groups = {}
  for result in results:
    panel = value_of(result, figure.panels) if figure.panels else None
    key = value_of(result, figure.by) if figure.by else None
    variant = tuple(axes_of(result).get(name) for name in others)
    groups.setdefault(panel, {}).setdefault((key, variant), []).append(result)
  read, errors, panels = _curve if over_training else _finals, [], {}
  for panel, series in _in_order(groups, figure.panels, results):
    made = []
    ordered = _in_order(series, figure.by, results, key=lambda pair: pair[0])
    for (key, variant), points in ordered:
      words = filter(None, map(_words, others, variant))
      names = _words(figure.by, key), ', '.join(words)
      try:
        made.append(Series(key, variant, *names, *read(figure, points)))
      except NotEnoughData:
        continue
      except ConfigError as error:
        errors.append(error)
    if made:
      panels[panel] = made
  if errors and not panels:
    raise mistake(figure, results, str(errors[0]), errors[0]) from errors[0]
  return panels


def selected(figure, results):
  """Returns the part of `results` that `figure` is about; none of it is no error."""
  if figure.select is None:
    return results
  try:
    return figure.select(results)
  except NotEnoughData:
    return results.only(lambda point: False)
  except Exception as error:
    if results.missing:  # the lowest of nothing
      return results.only(lambda point: False)
    raise raised(figure, results, 'its select', error) from error


def raised(figure, results, what, error):
  """Returns the ConfigError of a function of the file that has raised `error`."""
  text = f'{what} raised {type(error).__name__}: {error}'
  return mistake(figure, results, text, error)


def mistake(figure, results, text, error):
  """Returns the ConfigError of a figure, with the line of the file if it has one."""
  path = results.study.path
  line = loading.Source(path).line_of_error(error)
  where = f'{path}:{line}' if line else path
  return ConfigError(f'{where}: figure {figure.name!r}: {text}')


def axes_of(result):
  """Returns `{axis: value}` of a result, its row among them."""
  return {ROW: result.point.row, **result.point.axes}


def value_of(result, field):
  """Returns the row, the value of a config field, or a cost or metric of a result."""
  if field in costs.COSTS or field in result.metrics:
    return result.value(field)
  return point_fields.value_of(result.point, field)


def axis_range(values, levels=(), *, is_log=False):
  """Returns (low, high) around `values` and reference `levels`; None around nothing.

  The nearest levels come first; one that would leave the data less than MIN_DATA_SHARE
  of the axis stays outside. Of a logarithmic axis, what is not above 0 has no place.
  """
  values, levels = _on_axis(values, is_log), _on_axis(levels, is_log)
  if not len(values):
    values = levels
  if not len(values):
    return None
  data_low, data_high = low, high = values.min(), values.max()
  for level in sorted(
    levels, key=lambda level: max(data_low - level, level - data_high)
  ):
    wider = min(low, level), max(high, level)
    if data_high - data_low >= MIN_DATA_SHARE * (wider[1] - wider[0]):
      low, high = wider
  margin = MARGIN * (high - low) or (0.1 if is_log else 0.05 * abs(high) or 0.5)
  ends = low - margin, high + margin
  return tuple(float(np.exp(end)) for end in ends) if is_log else ends


def format_value(value):
  """Returns a value as it stands in labels: four digits, thousands as k and M."""
  if not is_number(value):
    return str(value)
  if math.isinf(value):
    return DIVERGED
  for size, unit in ((1e9, 'B'), (1e6, 'M'), (1e4, 'k')):
    if abs(value) >= size:
      return f'{value / (1e3 if unit == "k" else size):.3g}{unit}'
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def is_number(value):
  return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def field_label(field):
  """Returns the last part of a field as words."""
  return field.rpartition('.')[2].replace('_', ' ')


def _words(field, value):
  """Returns `ours`, `adamw` or `learning rate 0.001`."""
  if value is None:
    return ''
  if not field or field == ROW or isinstance(value, str):
    return format_value(value)
  return f'{field_label(field)} {format_value(value)}'


def _curve(figure, points):
  """Returns (x, values_SP) of `y` at the steps that all seeds have.

  Where a seed has diverged, the mean ends: that of the others would be another mean.
  """
  steps, values = zip(*(p.curve(figure.y) for p in points), strict=True)
  places = [p.curve(figure.y, figure.x)[0] for p in points]
  common = sorted(set.intersection(*(set(own.tolist()) for own in steps)))
  if not common:
    raise NotEnoughData(f'no step at which all seeds have {figure.y}.')
  at = [np.searchsorted(own, common) for own in steps]
  x_SP = np.stack([own[i] for own, i in zip(places, at, strict=True)])
  values_SP = np.stack([own[i] for own, i in zip(values, at, strict=True)])
  return tuple(x_SP.mean(axis=0).tolist()), values_SP


def _finals(figure, points):
  """Returns (x, values_SP) of the final `y` at each value of the field x."""
  found = {}
  for point in points:
    found.setdefault(value_of(point, figure.x), []).append(point.value(figure.y))
  if all(map(is_number, found)):
    found = dict(sorted(found.items()))
  values_SP = np.full((max(map(len, found.values())), len(found)), np.nan)
  for i, values in enumerate(found.values()):
    values_SP[: len(values), i] = values
  return tuple(found), values_SP


def _other_axes(results, taken):
  """Returns the axes that still tell points apart, when those of `taken` are equal."""
  names = dict.fromkeys(name for result in results for name in axes_of(result))
  names = [name for name in names if name not in (*taken, 'seed')]
  values = {name: {} for name in names}
  for result in results:
    place = (
      point_fields.seed_of(result.point),
      *(value_of(result, name) for name in taken),
    )
    for name in names:
      values[name].setdefault(place, set()).add(axes_of(result).get(name))
  return [n for n in names if any(len(found) > 1 for found in values[n].values())]


def _in_order(groups, field, results, key=lambda name: name):
  """Returns the items of `groups`: rows as in the experiment, numbers by size."""
  order = list(results.study.experiment.rows) if field == ROW else []
  keys = [key(name) for name in groups]
  if not order and all(map(is_number, keys)):
    order = sorted(set(keys))
  place = {name: i for i, name in enumerate(order)}
  return sorted(groups.items(), key=lambda item: place.get(key(item[0]), len(place)))


def _on_axis(values, is_log):
  values = np.asarray(values, np.float64).ravel()
  values = values[np.isfinite(values) & ((values > 0) | (not is_log))]
  return np.log(values) if is_log else values
