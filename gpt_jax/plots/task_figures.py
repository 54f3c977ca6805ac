"""Figures of a fine-tuned run: learning curves, confusions, calibration."""

import functools
import math
import pathlib
import re
import warnings

import numpy as np

from gpt_jax.evaluation.metrics import CALIBRATION_BINS
from gpt_jax.plots import figures, heat_map, palette
from gpt_jax.plots.figures import MAX_PLACES
from gpt_jax.tracking.loss_curve import smooth

MAX_CLASSES = 30  # of a heat map: more cells cannot be read
FEW = 40  # points of a curve, each with a dot
MAX_LETTERS = 28  # of a class's name beside an axis
WIDTH = 6.4


def styled(draw):
  """Returns `draw` with the style of all figures, whose colours dark pages replace."""

  @functools.wraps(draw)
  def drawn(*args, **options):
    import matplotlib

    with matplotlib.rc_context(figures.STYLE):
      return draw(*args, **options)

  return drawn


@styled
def save(canvas, name, title, caption, alt, folder):
  """Returns the `figures.Drawn` of a matplotlib figure, an SVG in `folder`."""
  path = pathlib.Path(folder) / f'{name}.svg'
  with warnings.catch_warnings():
    # Text stays text: the reader's browser has the letters that are missing here.
    warnings.filterwarnings('ignore', message='Glyph')
    canvas.savefig(path, metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
  figures.round_places(path)
  return figures.Drawn(name, title, caption, alt, svg=path)


@styled
def curves(series, metric, best_step=None):
  """Returns the figure of the losses and, beside them, of a metric by step.

  `series`: `{name: [(step, value), ...]}`, such as `train/loss` and `validation/f1`, as
  `tracking.metrics_file.read` gives them; `metric`: the part of a name after the set.
  """
  kinds = {_kind(name) for name in series}
  names = ['loss', *([metric] if metric != 'loss' and metric in kinds else [])]
  canvas, axes = make_canvas(len(names), (WIDTH if len(names) == 1 else 8.6, 3.4))
  sets = {name.rpartition('/')[0] for name in series if _kind(name) in names}
  # Training first; a set has one colour in both.
  order = sorted(sets, key=lambda one: (one != 'train', one))
  for axis, kind in zip(axes, names, strict=True):
    for i, one in enumerate(order):
      if points := series.get(f'{one}/{kind}'):
        _draw_curve(axis, points, one, i)
    if best_step is not None:
      axis.axvline(
        best_step, color=palette.REFERENCE, linestyle=':', linewidth=1.3,
        label='best step',
      )  # fmt: skip
    axis.set(xlabel='step', ylabel=kind.replace('_', ' '))
    axis.set_xlim(left=0)
    if axis.lines:
      axis.legend(loc='best')
  return canvas


def _kind(name):
  return name.rpartition('/')[2]


def _draw_curve(axis, points, label, number):
  color, style, marker = palette.of_number(number)
  steps, values = map(np.asarray, zip(*points, strict=True))
  is_long = len(steps) > FEW
  kept = np.unique(np.linspace(0, len(steps) - 1, MAX_PLACES).round().astype(int))
  if is_long and label == 'train':
    axis.plot(steps[kept], values[kept], color=color, alpha=0.25, linewidth=0.8)
    values = smooth(values)
  axis.plot(
    steps[kept], values[kept], color=color, linestyle=style, label=label,
    marker=None if is_long else marker, markersize=4, linewidth=1.9,
  )  # fmt: skip


@styled
def confusion(counts_CC, names):
  """Returns the heat map of counts, a row for each gold class; None for too many.

  Colours are shares of the row, so that rare classes are seen; 0 stays empty.
  """
  counts_CC = np.asarray(counts_CC, float)
  C = len(names)
  if not 2 <= C <= MAX_CLASSES:
    return None
  side = max(2.6, 0.36 * C) + 1.2
  canvas, (axis,) = make_canvas(1, (side + 1.6, side))
  shown = [_short(name) for name in names]
  totals_C1 = counts_CC.sum(axis=1, keepdims=True)
  shares_CC = np.divide(
    counts_CC, totals_C1, out=np.full_like(counts_CC, math.nan), where=counts_CC > 0
  )
  heat_map.draw(
    axis, shares_CC, shown, shown, low=0, high=1, label='share of the gold class',
    texts_RC=[[f'{count:,.0f}' for count in row] for row in counts_CC],
    size=10 if C <= 12 else 7,
  )  # fmt: skip
  if C > 6 or max(map(len, shown)) > 8:
    axis.tick_params(axis='x', labelrotation=90)
  axis.set(xlabel='predicted', ylabel='gold')
  return canvas


@styled
def calibration(confidence_N, is_right_N):
  """Returns the reliability diagram, arXiv:1706.04599, figure 1.

  Above: the share of right predictions in each bin of confidence, beside the diagonal;
  below: how many predictions are in it.
  """
  confidence_N, is_right_N = np.asarray(confidence_N), np.asarray(is_right_N, float)
  edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
  bin_N = np.clip(np.ceil(confidence_N * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1)
  counts, right = (
    np.bincount(bin_N.astype(int), weights, CALIBRATION_BINS)
    for weights in (None, is_right_N)
  )
  canvas, (upper, lower) = make_canvas(2, (5.2, 4.4), rows=(3, 1))
  width = 1 / CALIBRATION_BINS
  middle = edges[:-1] + width / 2
  shares = np.divide(right, counts, out=np.full(CALIBRATION_BINS, math.nan),
                     where=counts > 0)  # fmt: skip
  upper.plot([0, 1], [0, 1], color=palette.REFERENCE, linestyle=':', linewidth=1.3,
             label='perfectly calibrated')  # fmt: skip
  filled = counts > 0
  upper.bar(middle[filled], shares[filled], 0.9 * width, color=palette.SERIES[0],
            label='share that is right')  # fmt: skip
  upper.set(ylabel='share right', ylim=(0, 1), xlim=(0, 1))
  upper.legend(loc='upper left')
  upper.tick_params(labelbottom=False)
  lower.bar(middle, counts, 0.9 * width, color=palette.SERIES[2])
  lower.set(xlabel='confidence', ylabel='examples', xlim=(0, 1))
  return canvas


def make_canvas(count, size, rows=None):
  """Returns (matplotlib figure, axes) side by side, or below each other by `rows`."""
  # Without pyplot, which keeps every figure alive and looks for a display.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  canvas = Figure(figsize=size, layout='constrained')
  FigureCanvasAgg(canvas)
  shape = (1, count) if rows is None else (count, 1)
  axes = canvas.subplots(*shape, squeeze=False, height_ratios=rows)
  return canvas, list(axes.flat)


def _short(name):
  name = re.sub(r'\s+', ' ', str(name))
  name = name if len(name) <= MAX_LETTERS else f'{name[: MAX_LETTERS - 1]}…'
  return name.replace('$', r'\$')  # else it begins a formula
