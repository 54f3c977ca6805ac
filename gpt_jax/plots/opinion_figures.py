"""Figures of opinion monitoring: control charts by topic, and how much was said."""

import datetime

import numpy as np

from gpt_jax.plots import palette
from gpt_jax.plots.task_figures import make_canvas, styled

SHARE, SMOOTHED, LIMIT, ALERT = (palette.SERIES[i] for i in (0, 0, 2, 1))
MAX_LINES = 6  # topics of one figure
WIDTH = 8.6


@styled
def chart(points, usual=None):
  """Returns the control chart of one topic: shares, their EWMA, limits, and counts.

  `points`: dicts as `opinion/monitor.py` gives them, in time; those without limits are
  of the baseline. `usual`: the share in control, None where it is not known yet.
  """
  canvas, (upper, lower) = make_canvas(2, (WIDTH, 4.3), rows=(3, 1))
  times = [_time(one) for one in points]
  shares = np.array([one['share'] for one in points])
  width = _width(points)
  upper.plot(
    times, shares, linestyle='none', marker='o', markersize=3.2, color=SHARE,
    alpha=0.45, label='negative share',
  )  # fmt: skip
  _draw_limits(upper, [one for one in points if 'smoothed' in one])
  if usual is not None:
    upper.axhline(usual, color=palette.REFERENCE, linestyle=':', linewidth=1.3,
                  label='usual share')  # fmt: skip
  if out := [one for one in points if one.get('side')]:
    upper.plot(
      [_time(one) for one in out], [one['smoothed'] for one in out], linestyle='none',
      marker='D', markersize=6, color=ALERT, label='outside its limits',
    )  # fmt: skip
  upper.set(ylabel='negative share', ylim=_range(points))
  _ticks_to_one(upper)
  upper.legend(loc='upper left', ncols=3)
  lower.bar(times, [one['total'] for one in points], width, color=palette.REFERENCE)
  lower.set(ylabel='texts')
  _date_axes([upper, lower])
  return canvas


def _draw_limits(axis, judged):
  if not judged:
    return
  times = [_time(one) for one in judged]
  axis.plot(
    times, [one['smoothed'] for one in judged], color=SMOOTHED, linewidth=1.9,
    label='smoothed (EWMA)',
  )  # fmt: skip
  for name, label in (('upper', 'control limits'), ('lower', None)):
    axis.plot(
      times, [one[name] for one in judged], color=LIMIT, linestyle='--', linewidth=1.3,
      label=label, drawstyle='steps-mid',
    )  # fmt: skip


@styled
def trends(points_of):
  """Returns the figure of the negative share of topics, daily means or buckets.

  `points_of`: {topic: points}; those with most texts are drawn.
  """
  canvas, (axis,) = make_canvas(1, (WIDTH, 3.4))
  chosen = sorted(points_of, key=lambda one: -sum(p['total'] for p in points_of[one]))
  for number, name in enumerate(sorted(chosen[:MAX_LINES])):
    points = points_of[name]
    color, style, _ = palette.of_number(number)
    times, values, low, high = _windows(points)
    axis.plot(times, values, color=color, linestyle=style, label=_plain(name), lw=1.9)
    axis.fill_between(times, low, high, color=color, alpha=0.13, linewidth=0)
  axis.set(ylabel='negative share')
  axis.set_ylim(0, 1.3 * max(max(line.get_ydata()) for line in axis.get_lines()))
  _ticks_to_one(axis)
  axis.legend(loc='upper left', ncols=3)
  _date_axes([axis])
  return canvas


def _windows(points, count=30):
  """Returns (times, shares, low, high) of at most `count` runs of buckets."""
  parts = np.array_split(np.arange(len(points)), min(count, len(points)))
  rows = []
  for part in parts:
    own = [points[i] for i in part]
    negative, total = (sum(one[key] for one in own) for key in ('negative', 'total'))
    share = negative / total
    half = 1.96 * np.sqrt((share * (1 - share) + 0.25 / total) / total)
    middle = datetime.datetime.fromtimestamp(
      (own[0]['start'] + own[-1]['start']) / 2, datetime.UTC
    )
    rows.append((middle, share, max(0, share - half), min(1, share + half)))
  return zip(*rows, strict=True)


def _time(point):
  return datetime.datetime.fromtimestamp(point['start'], datetime.UTC)


def _width(points):
  """Returns the width of a bar in days: the shortest distance of two buckets."""
  starts = np.unique([one['start'] for one in points])
  return float(np.diff(starts).min() if len(starts) > 1 else 3600) / 86_400


def _range(points):
  highest = max(max(one['share'], one.get('upper', 0)) for one in points)
  lowest = min(min(one['share'], one.get('lower', 1)) for one in points)
  # Space for the legend, above all that is drawn.
  return max(-0.02, lowest - 0.05), min(1.35, highest + 0.3 * (highest - lowest) + 0.08)


def _ticks_to_one(axis):
  """Leaves out the numbers beside the space of the legend: no share is above 1."""
  low, high = axis.get_ylim()
  axis.set_yticks([one for one in axis.get_yticks() if low <= one <= min(high, 1)])
  axis.set_ylim(low, high)


def _date_axes(axes):
  from matplotlib import dates

  for axis in axes:
    locator = dates.AutoDateLocator(minticks=3, maxticks=8)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
  for axis in axes[:-1]:
    axis.tick_params(labelbottom=False)
    axis.sharex(axes[-1])


def _plain(name):
  return str(name).replace('$', r'\$')
