"""Names of points: readable, unique, and the same whatever other points there are."""

import hashlib
import re

from gpt_jax.sweeps.experiment import FromRow

MAX_NAME = 120  # characters; file systems take 255, people fewer
_HASH = 8


def point_names(points):
  """Returns a name for each `(row, axes)`: the row and the values on its axes.

  Two points never share one: where their names would, the later one ends in a hash.
  """
  names, taken = [], {}
  for row, axes in points:
    name = point_name(row, axes)
    if taken.setdefault(name, (row, axes)) != (row, axes):
      name = f'{name[: MAX_NAME - _HASH - 1]}-{_hash(_exact(row, axes))}'
      taken[name] = (row, axes)
    names.append(name)
  return names


def point_name(row, axes):
  """Returns the name of a point's folder: its row and its values on the axes."""
  short = [field.rpartition('.')[2] for field in axes]
  parts = [_slug(row)]
  for field, last in zip(axes, short, strict=True):
    label = last if short.count(last) == 1 else field
    parts.append(f'{label}={_value(axes[field])}')
  name = ','.join(parts)
  if len(name) > MAX_NAME:
    name = f'{name[: MAX_NAME - _HASH - 1]}-{_hash(_exact(row, axes))}'
  return name


def _value(value):
  if isinstance(value, FromRow):
    return f'from_{_slug(value.row)}'
  text = value if isinstance(value, str) else repr(value)
  return _slug(text) or _hash(text)


def _slug(text):
  return re.sub(r'[^A-Za-z0-9.+-]+', '_', text).strip('_.')


def _exact(row, axes):
  return repr((row, sorted(axes.items(), key=lambda item: item[0])))


def _hash(text):
  return hashlib.sha256(text.encode()).hexdigest()[:_HASH]
