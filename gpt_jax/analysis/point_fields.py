"""Rows, axes and seeds of the points of a study, and which values they have there."""

import math

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest


def all_points(study):
  """Returns the points of a study, with those that have the config of another one.

  Those are in the workdir of the other. Rows are in the order of the experiment.
  """
  order = {row: i for i, row in enumerate(study.experiment.rows)}
  points = (*study.points, *study.duplicates)
  return tuple(sorted(points, key=lambda point: order.get(point.row, len(order))))


def seed_of(point):
  return point.axes.get('seed', point.config.seed)


def value_of(point, field):
  """Returns the value of a point on an axis, `row`, or a field of its config."""
  if field == 'row':
    return point.row
  if field in point.axes:
    return point.axes[field]
  value = point.config
  for name in field.split('.'):
    if not hasattr(value, name):
      known = ['row', *point.axes]
      hint = nearest(field, known)
      raise ConfigError(
        f'{field}: no axis of the study and no field of its config'
        + (f'; did you mean {hint!r}?' if hint else f'; axes are {", ".join(known)}.')
      )
    value = getattr(value, name)
  return value


def varied_axes(study):
  """Returns the config fields on axes of several values, seeds aside."""
  fields = dict.fromkeys(field for point in study.points for field in point.axes)
  return [
    f
    for f in fields
    if f != 'seed' and len({str(p.axes.get(f)) for p in study.points}) > 1
  ]


def is_same(one, other):
  if isinstance(one, float) and isinstance(other, int | float):
    return math.isclose(one, other, rel_tol=1e-6)
  return one == other


def require_known(study, field, value):
  """Raises ConfigError for a row or a value that no point of the study has."""
  if field == 'row' and value in study.experiment.rows:
    return  # perhaps not at this size: that is a lack of data, not a mistake
  points = (*study.points, *study.duplicates)
  if points and not any(is_same(value_of(point, field), value) for point in points):
    known = dict.fromkeys(value_of(point, field) for point in all_points(study))
    hint = nearest(value, known)
    raise ConfigError(
      f'{field}={value!r}: no point of the study has it; expected one of'
      f' {", ".join(map(repr, known))}' + (f'; did you mean {hint!r}?' if hint else '.')
    )
