"""A figure over names: a dot for each mean, a small one for each seed, their range."""

import collections
import textwrap

import numpy as np

from gpt_jax.plots import axes_labels, captions, palette, series


def draw(figure, results, panels, chosen, make_canvas):
  """Returns the matplotlib figure of `panels`, with the names from top to bottom."""
  every = [one for found in panels.values() for one in found]
  names = list(dict.fromkeys(x for one in every for x in one.x))
  most = max(_groups_of(name, found) for name in names for found in panels.values())
  lines = captions.reference_levels(figure, results)[0]
  canvas, axes = make_canvas(
    figure, len(panels), height=1.3 + len(names) * (0.2 + 0.24 * most)
  )
  # What the names at the axis say already needs no legend.
  is_said = figure.by == figure.x
  for axis, (panel, found) in zip(axes, panels.items(), strict=True):
    taken = collections.Counter()
    for one in found:
      places = [_place(names.index(x), taken[x], _groups_of(x, found)) for x in one.x]
      taken.update(one.x)
      named = one.variant_label if is_said else ''
      _draw_group(axis, one, places, named, *chosen[one.key, one.variant])
    for _, level in lines:
      axis.axvline(level, color=palette.REFERENCE, linestyle=':', linewidth=1.3)
    if figure.log_y:
      axis.set_xscale('log')
    if panel is not None:
      axis.set_title(captions.panel_title(figure, panel), loc='left')
    axis.set_xlabel(captions.y_label(figure))
    axis.grid(axis='y', visible=False)
  shown = [textwrap.fill(series.format_value(name), 26) for name in names]
  axes[0].set_yticks(range(len(names)), shown)
  axes[0].set_ylim(len(names) - 0.5, -0.5)
  values = np.concatenate([one.values_SP.ravel() for one in every])
  levels = [level for _, level in lines]
  limits = series.axis_range(values, levels, is_log=figure.log_y)
  if limits is not None:
    axes[0].set_xlim(limits)
  kept = {} if is_said else panels
  arrows = axes_labels.LEFT_RIGHT
  axes_labels.below(canvas, kept, chosen, lines, axes[0].get_xlim(), arrows)
  return canvas


def _groups_of(name, found):
  return sum(name in one.x for one in found)


def _place(row, number, count):
  """Returns the height of a group: the groups of one name share 0.8 of its row."""
  return row + 0.8 * ((number + 0.5) / count - 0.5)


def _draw_group(axis, one, places, named, color, _, marker):
  known = np.where(np.isfinite(one.values_SP), one.values_SP, np.nan)
  kept = [i for i in range(len(places)) if np.isfinite(known[:, i]).any()]
  ends = [(np.nanmin(known[:, i]), np.nanmax(known[:, i])) for i in kept]
  lows, highs = zip(*ends, strict=True) if ends else ((), ())
  heights = [places[i] for i in kept]
  axis.hlines(heights, lows, highs, color=color, linewidth=2, alpha=0.55)
  for values_P in known:
    axis.plot(values_P, places, 'o', color=color, markersize=3.5, alpha=0.6)
  axis.plot(
    np.where(np.isfinite(one.mean), one.mean, np.nan), places, linestyle='none',
    marker=marker, color=color, markersize=7, markeredgecolor=palette.PAPER,
    label=one.label,
  )  # fmt: skip
  for mean, high, place in zip(one.mean, one.high, places, strict=True):
    # What has diverged has no place on the axis: its name stands at the left.
    is_there = np.isfinite(mean)
    text = f'{series.format_value(float(mean))}  {named}'.strip()
    axis.annotate(
      text, (high if is_there else 0, place),
      xycoords='data' if is_there else axis.get_yaxis_transform(), xytext=(9, 0),
      textcoords='offset points', va='center', fontsize=9.5,
    )  # fmt: skip
