"""The figures of an experiment: PNG and SVG, the same bytes from the same results."""

import dataclasses
import pathlib
import re
import textwrap
import warnings
from typing import Any

import numpy as np

from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.core.errors import StorageError, UserError
from gpt_jax.plots import axes_labels, captions, dot_plot, palette, series
from gpt_jax.sweeps.algebra import ROW

EMPTY = 'no results yet'
# The first evaluations of a run are far above what the figure is about.
START_SHARE = 0.05
MIN_TICK_SHARE = 0.1  # of the width of the axes, between labels
MAX_PLACES = 200  # of a curve: more cannot be told apart, and make files large
STYLE: dict[Any, Any] = {
  'axes.edgecolor': palette.MUTED, 'axes.labelcolor': palette.INK,
  'axes.titlecolor': palette.INK, 'axes.titlesize': 11, 'axes.labelsize': 11,
  'axes.axisbelow': True, 'axes.grid': True, 'axes.unicode_minus': False,
  # What a file draws has the colours of rows as well.
  'axes.prop_cycle': f"cycler('color', {list(palette.SERIES)})",
  'axes.spines.top': False, 'axes.spines.right': False, 'font.size': 10.5,
  'font.sans-serif': ['DejaVu Sans', 'Verdana', 'Helvetica', 'Arial', 'sans-serif'],
  'grid.color': palette.GRID, 'grid.linewidth': 0.8, 'legend.frameon': False,
  'legend.fontsize': 10, 'text.color': palette.INK, 'xtick.color': palette.MUTED,
  'xtick.labelcolor': palette.INK, 'ytick.color': palette.MUTED,
  'ytick.labelcolor': palette.INK, 'path.simplify_threshold': 0.3,
  # Text stays text: small files, and letters that can be searched.
  'svg.fonttype': 'none', 'svg.hashsalt': 'gpt_jax',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Drawn:
  """A figure on disk, or why there is none."""

  name: str
  title: str
  caption: str = ''  # what lines, bands and references are
  alt: str = ''  # what it shows, for those who do not see it
  svg: pathlib.Path | None = None
  png: pathlib.Path | None = None
  problem: str = ''  # then there are no files


def save_all(results, folder):
  """Returns a Drawn for each figure of the experiment of `results`.

  One that fails has its `problem`: the runs are worth more than a picture of them.
  """
  drawn = []
  for figure in results.study.experiment.figures:
    try:
      drawn.append(save(figure, results, folder))
    except (OSError, StorageError):  # the others cannot be written either
      raise
    except Exception as error:
      is_told = isinstance(error, UserError)
      problem = str(error) if is_told else f'{type(error).__name__}: {error}'
      for end in ('svg', 'png'):  # of an earlier report
        (pathlib.Path(folder) / f'{figure.name}.{end}').unlink(missing_ok=True)
      drawn.append(Drawn(figure.name, figure.title, problem=problem))
  return drawn


def save(figure, results, folder):
  """Returns the Drawn of `figure`, written as FOLDER/NAME.svg and .png."""
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  svg, png = folder / f'{figure.name}.svg', folder / f'{figure.name}.png'
  import matplotlib

  with matplotlib.rc_context(STYLE):
    canvas = draw(figure, results)
    no_date = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    canvas.savefig(svg, metadata=no_date)
    canvas.savefig(png, dpi=150, metadata={'Software': None})
  round_places(svg)
  _shrink(png)
  caption = captions.caption(figure, results)
  alt = captions.alt(figure, results, canvas)
  return Drawn(figure.name, figure.title, caption, alt, svg, png)


def draw(figure, results):
  """Returns the matplotlib figure of `figure`; says so where there are no results."""
  import matplotlib

  with matplotlib.rc_context(STYLE):
    if figure.draw is not None:
      return _drawn_by_file(figure, results)
    panels = series.collect(figure, results)
    if not panels:
      return _empty(figure)
    places = dict.fromkeys(x for each in panels.values() for one in each for x in one.x)
    is_plain = figure.x in series.OVER_TRAINING or all(map(series.is_number, places))
    if not is_plain:
      chosen = styles(figure, results, panels)
      return dot_plot.draw(figure, results, panels, chosen, _canvas)
    return _curves(figure, results, panels)


def styles(figure, results, panels):
  """Returns `{(key, variant): (colour, line style, marker)}`, rows as everywhere."""
  found = [(one.key, one.variant) for each in panels.values() for one in each]
  keys = list(dict.fromkeys(key for key, _ in found))
  variants = list(dict.fromkeys(variant for _, variant in found))
  is_ordered = figure.by != ROW and len(keys) > 1 and all(map(series.is_number, keys))
  rows = list(results.study.experiment.rows)
  chosen = {}
  for i, key in enumerate(sorted(keys) if is_ordered else keys):
    color, style, marker = palette.of_number(
      rows.index(key) if figure.by == ROW and key in rows else i
    )
    if is_ordered:
      color, style = palette.of_ordered(len(keys))[i], '-'
    for j, variant in enumerate(variants):
      if len(variants) > 1:
        style = palette.LINE_STYLES[j % len(palette.LINE_STYLES)]
        marker = palette.MARKERS[j % len(palette.MARKERS)]
      chosen[key, variant] = color, style, marker
  return chosen


def _curves(figure, results, panels):
  chosen = styles(figure, results, panels)
  lines = captions.reference_levels(figure, results)[0]
  canvas, axes = _canvas(figure, len(panels))
  every = [one for found in panels.values() for one in found]
  for axis, (panel, found) in zip(axes, panels.items(), strict=True):
    for one in found:
      _draw_series(axis, figure, one, *chosen[one.key, one.variant])
    for _, level in lines:
      axis.axhline(level, color=palette.REFERENCE, linestyle=':', linewidth=1.3)
    _set_scales(axis, figure, every, [level for _, level in lines])
    if panel is not None:
      axis.set_title(captions.panel_title(figure, panel), loc='left')
    axis.margins(x=0.01 if figure.x in series.OVER_TRAINING else 0.04)
  label_outer(axes, captions.x_label(figure), captions.y_label(figure))
  if len(panels) == 1:
    axes_labels.beside(axes[0], next(iter(panels.values())), chosen, lines)
  else:
    axes_labels.below(canvas, panels, chosen, lines, axes[0].get_ylim())
  return canvas


def _draw_series(axis, figure, one, color, style, marker):
  over_training = figure.x in series.OVER_TRAINING
  few = len(one.x) <= 25
  last = len(one.x) - 1
  kept = np.unique(
    np.linspace(0, last, min(len(one.x), MAX_PLACES)).round().astype(int)
  )
  x, mean, low, high = (np.array(v)[kept] for v in (one.x, one.mean, one.low, one.high))
  is_finite = np.isfinite(mean)
  axis.plot(
    x, np.where(is_finite, mean, np.nan), color=color, linestyle=style, linewidth=1.9,
    marker=marker if few else None, markersize=4 if over_training else 6,
    label=one.label,
  )  # fmt: skip
  if not is_finite.all():  # a cross at the edge that is the worse one
    axis.plot(
      x[~is_finite], mean[~is_finite] > 0, color=color, linestyle='none', marker='x',
      markersize=7, markeredgewidth=1.8, clip_on=False,
      transform=axis.get_xaxis_transform(), label=f'{one.label}, diverged',
    )  # fmt: skip
  if one.num_seeds < 2:
    return
  x, mean, low, high = (values[is_finite] for values in (x, mean, low, high))
  if over_training:
    axis.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
  else:
    axis.errorbar(
      x, mean, [mean - low, high - mean], fmt='none', ecolor=color, capsize=3
    )


def _set_scales(axis, figure, found, levels):
  from matplotlib import ticker

  xs = [x for one in found for x in one.x]
  if figure.log_x and min(xs) > 0:
    axis.set_xscale('log')
  values = np.concatenate([one.values_SP.ravel() for one in found])
  if figure.log_y and np.nanmax(values) > 0:
    axis.set_yscale('log', nonpositive='clip')
  is_log = axis.get_yscale() == 'log'
  shown = _shown_values(figure, found)
  if (limits := series.axis_range(shown, levels, is_log=is_log)) is not None:
    axis.set_ylim(limits)
  for one, is_log in ((axis.xaxis, figure.log_x), (axis.yaxis, figure.log_y)):
    one.set_major_formatter(ticker.FuncFormatter(_tick))
    if is_log:
      low, high = one.get_view_interval()
      digits = (2, 3, 5) if high / low < 15 else (2, 5) if high / low < 200 else ()
      one.set_minor_formatter(ticker.FuncFormatter(_minor_tick(digits)))
  if figure.x in series.OVER_TRAINING and not figure.log_x:
    axis.set_xlim(left=0)
  places = sorted(set(xs))
  if figure.x not in series.OVER_TRAINING and _have_room(axis, places):
    axis.set_xticks(places, [series.format_value(x) for x in places])
    axis.set_xticks([], minor=True)


def _have_room(axis, places):
  """Returns whether labels at the x `places` would stay clear of each other."""
  at = axis.transData.transform([(x, axis.get_ylim()[0]) for x in places])[:, 0]
  share = np.diff(at) / axis.get_window_extent().width
  return not len(share) or share.min() > MIN_TICK_SHARE


def _shown_values(figure, found):
  """Returns the values that the range of y has to hold, without the first peaks."""
  if figure.x not in series.OVER_TRAINING or figure.log_x:
    return np.concatenate([one.values_SP.ravel() for one in found])
  start = START_SHARE * max(x for one in found for x in one.x)
  later = [one.values_SP[:, np.array(one.x) >= start].ravel() for one in found]
  lowest = min(float(np.nanmin(one.values_SP)) for one in found)
  return np.concatenate([*later, [lowest]])


def _canvas(figure, count, height=3.7, width=6.4):
  """Returns (matplotlib figure, axes) with `count` panels, at most three a row."""
  # Without pyplot, which keeps every figure alive and looks for a display.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  columns = min(count, 3)
  rows = -(-count // columns)
  size = (width, height) if count == 1 else (1.6 + 2.6 * columns, 1 + 2.5 * rows)
  canvas = Figure(figsize=size, layout='constrained')
  FigureCanvasAgg(canvas)
  axes = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
  for axis in axes.flat[count:]:
    axis.set_axis_off()
  title = textwrap.fill(figure.title, int(size[0] * 9))
  canvas.suptitle(title, x=0.012, ha='left', fontsize=12.5, fontweight='bold')
  return canvas, list(axes.flat[:count])


def label_outer(axes, x_label, y_label):
  """Labels the lowest panel of each column and the first of each row."""
  for i, axis in enumerate(axes):
    if i + 3 >= len(axes):
      axis.set_xlabel(x_label)
      axis.tick_params(labelbottom=True)
    if i % 3 == 0:
      axis.set_ylabel(y_label)


def _empty(figure):
  canvas, (axis,) = _canvas(figure, 1, height=2.4)
  axis.set_axis_off()
  axis.text(0.5, 0.5, EMPTY, ha='center', va='center', color=palette.MUTED)
  return canvas


def _drawn_by_file(figure, results):
  canvas, (axis,) = _canvas(figure, 1)
  try:
    with warnings.catch_warnings():
      if results.missing:  # a mean of nothing is nan, and a legend of nothing empty
        warnings.simplefilter('ignore')
      figure.draw(axis, results)
  except NotEnoughData:
    return _empty(figure)
  except Exception as error:
    if results.missing:  # a mean of nothing, the lowest of nothing
      return _empty(figure)
    raise series.raised(figure, results, 'its draw', error) from error
  if results.missing and not any(one.has_data() for one in canvas.axes):
    return _empty(figure)
  if figure.x_label:
    axis.set_xlabel(figure.x_label)
  if figure.y_label:
    axis.set_ylabel(figure.y_label)
  return canvas


def _tick(value, _):
  if value and not 1e-4 <= abs(value) < 1e4:
    return series.format_value(float(value)) if abs(value) >= 1e4 else f'{value:.0e}'
  return f'{value:g}'


def _minor_tick(digits):
  """Returns a formatter of the minor ticks whose first digit is one of `digits`."""

  def show(value, _):
    leading = round(value / 10 ** np.floor(np.log10(value)))
    return _tick(value, _) if leading in digits else ''

  return show


def round_places(svg):
  """Rewrites an SVG with coordinates to a hundredth of a point: half the bytes."""
  text = svg.read_text(encoding='utf-8')
  places = re.compile(r'(?<= )(?:d|x|y|points|transform)="[^"]*"')
  text = places.sub(lambda m: re.sub(r'(\.\d\d)\d+', r'\1', m[0]), text)
  svg.write_text(text, encoding='utf-8')


def _shrink(png):
  """Rewrites a PNG with 256 colours: a third of the bytes, and no visible change."""
  from PIL import Image

  with Image.open(png) as image:
    small = image.convert('RGB').quantize(256, dither=Image.Dither.NONE)
  small.save(png, optimize=True)
