"""What a figure that an experiment file draws by itself shows, in words."""

import numpy as np

from gpt_jax.plots import series

MAX_POINTS = 8  # of a line; of a longer one its ends and its lowest point are told
MAX_CELLS = 40  # of a table of numbers


def describe(canvas):
  """Returns the lines and tables of numbers on a matplotlib figure, with values.

  Lines without a label, such as the fit through labelled dots, are left out; single
  dots without one are marks.
  """
  parts = []
  for axis in canvas.axes:
    if axis.get_label() == '<colorbar>':
      continue
    title = ' '.join(axis.get_title(loc=place) for place in ('left', 'center'))
    found = [*_lines(axis), *(_table(axis, image) for image in axis.images)]
    head = f'{title.strip()}: ' if found and title.strip() else ''
    parts += [head + '; '.join(found)] if found else []
  return '. '.join(parts)


def _lines(axis):
  for line in axis.get_lines():
    label = str(line.get_label())
    x, y = (np.asarray(v, float) for v in (line.get_xdata(), line.get_ydata()))
    is_known = np.isfinite(x) & np.isfinite(y)
    x, y = x[is_known], y[is_known]
    if label.startswith('_') and len(x) == 1:  # such as the minimum of a curve
      yield f'marked {_place(*x, *y)}'
    if label.startswith('_') or not len(x):
      continue
    is_level = len(x) > 1 and len({*y}) == 1 and line.get_linestyle() != 'None'
    yield f'{label} {_show(y[0]) if is_level else _course(x, y)}'


def _course(x, y):
  if len(x) <= MAX_POINTS:
    return ', '.join(map(_place, x, y))
  low = int(np.argmin(y))
  ends = f'from {_place(x[0], y[0])} to {_place(x[-1], y[-1])}'
  return ends if low in (0, len(x) - 1) else f'{ends}, lowest {_place(x[low], y[low])}'


def _place(x, y):
  return f'{_show(y)} at {_show(x)}'


def _table(axis, image):
  values_RC = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
  rows = [label.get_text() for label in axis.get_yticklabels()]
  columns = [label.get_text() for label in axis.get_xticklabels()]
  if values_RC.shape != (len(rows), len(columns)):
    return f'{" by ".join(map(str, values_RC.shape[:2]))} values'

  def cell(i, j):
    return f'{columns[j]} {_show(values_RC[i, j])}'

  known = np.argwhere(np.isfinite(values_RC))
  if len(known) > MAX_CELLS:
    ends = {'lowest': np.nanargmin(values_RC), 'highest': np.nanargmax(values_RC)}
    parts = []
    for name, place in ends.items():
      i, j = divmod(int(place), len(columns))
      parts.append(f'{name} {rows[i]}, {cell(i, j)}')
    return '; '.join(parts)
  lines = {}
  for i, j in known:
    lines.setdefault(rows[i], []).append(cell(i, j))
  return '; '.join(f'{row}: {", ".join(cells)}' for row, cells in lines.items())


def _show(value):
  return series.format_value(float(value))
