"""Sweeps as lists of settings: axes, their product, zip and chain.

A sweep is a tuple of settings, dicts `{config field: value}`; the key ROW names a row
of the experiment's table instead of a field.

  product(vary('optimizer.learning_rate', 1e-3, 3e-3), seeds(0, 1, 2))   6 points
  zipped(vary('model.d_model', 64, 128), vary('train.batch_size', 32, 16))   2 points
  chain(product(rows('base'), seeds(0)), product(rows('ours'), seeds(0, 1)))   3 points
"""

import itertools
import math
import numbers
import reprlib
from collections.abc import Mapping

from gpt_jax.core.errors import ConfigError

ROW = 'row'


def vary(field, *values):
  """Returns the axis of one `field` over `values`.

  Raises ConfigError where there are none, or one that cannot name a point: results are
  looked up by it.
  """
  if not isinstance(field, str):
    raise ConfigError(
      f'vary({field!r}, ...): expected the name of a config field first.'
    )
  if not values:
    raise ConfigError(f'vary({field!r}): has no values; expected at least one.')
  for value in values:
    require_hashable(field, value)
  return tuple({field: value} for value in values)


def seeds(*values):
  """Returns the axis of `seed`; results are means over it, with their spread."""
  return vary('seed', *values)


def rows(*names):
  """Returns the axis of the named rows of the experiment; none named: all of them."""
  return tuple({ROW: name} for name in names) or ({ROW: None},)


def linear_range(field, low, high, num):
  """Returns the axis of `num` values at equal distances from `low` to `high`."""
  _require_ends(field, low, high, num)
  return vary(field, *_spaced(field, low, high, num, lambda x: x, lambda x: x))


def log_range(field, low, high, num):
  """Returns the axis of `num` values at equal ratios from `low` to `high`."""
  _require_ends(field, low, high, num)
  if not 0 < low <= high:
    raise ConfigError(f'log_range({field!r}, {low}, {high}): expected 0 < low <= high.')
  return vary(field, *_spaced(field, low, high, num, math.log, math.exp))


def product(*sweeps, where=None):
  """Returns every combination of the settings of `sweeps`, the last varying fastest.

  `where`: a predicate on settings; combinations for which it is false are left out.
  """
  _require_sweeps('product', sweeps)
  return only(tuple(map(_merged, itertools.product(*sweeps))), where)


def zipped(*sweeps, where=None):
  """Returns the first settings of all `sweeps` merged, then the second ones, and so on.

  Raises ConfigError where they differ in length.
  """
  _require_sweeps('zipped', sweeps)
  lengths = [len(sweep) for sweep in sweeps]
  if len(set(lengths)) > 1:
    raise ConfigError(f'zipped: expected sweeps of one length, found {lengths}.')
  return only(tuple(map(_merged, zip(*sweeps, strict=True))), where)


def chain(*sweeps):
  """Returns the settings of all `sweeps`, one sweep after the other."""
  _require_sweeps('chain', sweeps)
  return tuple(itertools.chain.from_iterable(sweeps))


def only(sweep, where=None):
  """Returns the settings of `sweep` for which the predicate `where` is true."""
  return tuple(one for one in sweep if where is None or where(one))


def require_hashable(field, value):
  """Raises ConfigError for a value by which no point can be looked up."""
  try:
    hash(value)
  except TypeError:
    kind = type(value).__name__
    way_out = f'give each a row of its own: rows={{"NAME": {{"{field}": ...}}}}'
    if isinstance(value, (list, set)):
      way_out = 'give tuples'
    raise ConfigError(
      f'vary({field!r}): {value!r} is a {kind}, and an axis needs values that can be'
      f' compared and looked up (hashable); {way_out}.'
    ) from None


def _require_sweeps(name, sweeps):
  for sweep in sweeps:
    is_one = isinstance(sweep, (tuple, list))
    if not is_one or not all(isinstance(setting, Mapping) for setting in sweep):
      raise ConfigError(
        f'{name}(...): {reprlib.repr(sweep)} is no sweep; expected what vary, seeds,'
        " rows, product, ... return, such as vary('model.d_model', 32, 64)."
      )


def _require_ends(field, low, high, num):
  is_right = all(isinstance(end, numbers.Real) for end in (low, high))
  if not is_right or not isinstance(num, numbers.Integral):
    raise ConfigError(
      f'{field}: low={low!r}, high={high!r}, num={num!r}: expected two numbers and how'
      ' many values.'
    )


def _merged(parts):
  merged = {}
  for part in parts:
    if twice := sorted(merged.keys() & part.keys()):
      raise ConfigError(
        f'{twice[0]}: two axes of one product vary it; give each field one axis, or put'
        ' the two after each other with chain(...).'
      )
    merged |= part
  return merged


def _spaced(field, low, high, num, to_scale, from_scale):
  if num < 2:
    raise ConfigError(f'{field}: a range of {num} values; expected at least 2.')
  first, last = to_scale(low), to_scale(high)
  between = [
    # Digits enough for any sweep, and a name that people can read.
    float(f'{from_scale(first + (last - first) * i / (num - 1)):.6g}')
    for i in range(1, num - 1)
  ]
  values = [low, *between, high]
  is_whole = all(isinstance(end, int) for end in (low, high))
  return [round(value) for value in values] if is_whole else values
