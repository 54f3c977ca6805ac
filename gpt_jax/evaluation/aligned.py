"""Checks of what metrics compare: lists of one length, labels that are known."""

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import DataError


def require_aligned(metric, **columns):
  """Raises DataError unless all `columns` of a `metric` have one length above 0.

  Args:
    metric: what reads them, for the message.
    **columns: lists by name; None stands for one that was not given.
  """
  lengths = {name: len(rows) for name, rows in columns.items() if rows is not None}
  told = ', '.join(f'{length} of {name}' for name, length in lengths.items())
  if 0 in lengths.values():
    raise DataError(f'{metric}: there are no examples: {told}.')
  if len(set(lengths.values())) > 1:
    raise DataError(f'{metric}: expected equally many, not {told}.')


def label_ids(metric, column, labels, names):
  """Returns int64 [N], the position in `names` of each label: a name, or its position.

  Raises DataError at the first label that is neither.
  """
  position = {name: number for number, name in enumerate(names)}
  if len(position) != len(names):
    twice = sorted(name for name in position if list(names).count(name) > 1)
    raise DataError(f'{metric}: the class {twice[0]!r} stands twice among the names.')
  return np.array(
    [
      _label_id(label, position, f'{metric}: {column}[{row}]')
      for row, label in enumerate(labels)
    ],
    np.int64,
  )


def _label_id(label, position, place):
  if isinstance(label, str):
    if label in position:
      return position[label]
    known, hint = ', '.join(map(str, position)), registry.nearest(label, position)
    asked = f'; did you mean {hint!r}?' if hint else '.'
    raise DataError(f'{place}={label!r}: unknown label; expected one of {known}{asked}')
  if isinstance(label, (int, np.integer)) and 0 <= label < len(position):
    return int(label)
  raise DataError(
    f'{place}={label!r}: expected a name of a class, or a number from 0 to'
    f' {len(position) - 1}.'
  )


def finite_numbers(metric, column, values):
  """Returns float64 [N] of `values`; raises DataError at one that is not finite."""
  try:
    values_N = np.array([float(value) for value in values])
  except (TypeError, ValueError) as error:
    raise DataError(f'{metric}: {column}: expected numbers; {error}.') from None
  wrong = np.flatnonzero(~np.isfinite(values_N))
  if wrong.size:
    row = int(wrong[0])
    raise DataError(
      f'{metric}: {column}[{row}]={values[row]}: expected a finite number.'
    )
  return values_N
