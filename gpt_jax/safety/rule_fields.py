"""Fields of a JSON file: what they may be, and what is said where they are not."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from gpt_jax.core import registry

REQUIRED = object()


class Field(NamedTuple):
  """A field of an object."""

  read: Callable[[Any], Any]
  """Returns the value; raises ValueError that says what is expected. Or `bool`."""
  default: Any = REQUIRED


def text(value):
  """Returns a text that is not empty."""
  if not isinstance(value, str) or not value.strip():
    raise ValueError('a text that is not empty')
  return value


def texts(value):
  """Returns a list of texts as a tuple."""
  if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
    raise ValueError('a list of texts')
  return tuple(value)


def natural(value):
  """Returns a number of characters, from 1 to 10,000."""
  if type(value) is not int or not 1 <= value <= 10_000:
    raise ValueError('a whole number from 1 to 10000')
  return value


def share(value):
  """Returns a probability."""
  if type(value) not in (int, float) or not (math.isfinite(value) and 0 < value <= 1):
    raise ValueError('a number above 0, at most 1')
  return float(value)


def choice(*names):
  """Returns the reader of one of `names`."""

  def read(value):
    if value in names:
      return value
    hint = registry.nearest(value, names) if isinstance(value, str) else None
    did = f'; did you mean {hint!r}?' if hint else ''
    raise ValueError(f'one of {", ".join(names)}{did}')

  return read


def read_object(value, fields, place):
  """Returns ({field: value} with defaults, list of mistakes) of a JSON object.

  A mistake begins with its place, such as `rules[2].action`.
  """
  if not isinstance(value, dict):
    return {}, [f'{place}={_shown(value)}: expected an object.']
  found, mistakes = {}, []
  for name in value:
    if name not in fields:
      hint = registry.nearest(name, fields)
      did = f'; did you mean {hint!r}?' if hint else '.'
      mistakes.append(
        f'{_join(place, name)}: no such field; expected {", ".join(fields)}{did}'
      )
  for name, field in fields.items():
    if name not in value:
      if field.default is REQUIRED:
        mistakes.append(f'{_join(place, name)}: is missing.')
      else:
        found[name] = field.default
      continue
    try:
      found[name] = (
        _boolean(value[name]) if field.read is bool else field.read(value[name])
      )
    except ValueError as error:
      end = '' if str(error).endswith('?') else '.'
      mistakes.append(
        f'{_join(place, name)}={_shown(value[name])}: expected {error}{end}'
      )
  return found, mistakes


def _boolean(value):
  if not isinstance(value, bool):
    raise ValueError('true or false')
  return value


def _join(place, name):
  return f'{place}.{name}' if place else name


def _shown(value):
  shown = repr(value)
  return shown if len(shown) <= 60 else shown[:57] + '...'
