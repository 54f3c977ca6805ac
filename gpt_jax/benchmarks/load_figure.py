"""Load on servers drawn as a PNG: what they can do, and what requests wait."""

import math
import os
import pathlib

COLORS = ('#17506e', '#e8590c', '#2b9a73', '#d65db1')
MARKERS = ('o', 's', '^', 'D')
FAINT = '0.85'


def save(rows, path):
  """Draws the rows of `serving_load.measure` and returns `path`."""
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  draw(rows).savefig(path, dpi=110)
  return path


def draw(rows):
  """Returns the figure: tokens a second of closed loops, waits of open ones."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  closed = [row for row in rows if row['loop'] == 'closed']
  opened = [row for row in rows if row['loop'] == 'open']
  count = 2 if opened else 1
  figure = Figure(figsize=(4.6 * count, 3.8), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots(1, count, squeeze=False)[0]
  _draw_closed(axes[0], closed)
  if opened:
    _draw_open(axes[1], opened)
  for axis in axes:
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(axis='y', color=FAINT)
    axis.set_axisbelow(True)
  return figure


def _draw_closed(axis, rows):
  places = range(len(rows))
  rates = [row['tokens_per_second'] for row in rows]
  axis.bar(places, rates, color=COLORS[0], width=0.55)
  for place, row, rate in zip(places, rows, rates, strict=True):
    cores = f'{row["server_cores"]:.1f} cores' if row['server_cores'] else ''
    axis.annotate(
      f'{rate:,.0f}\n{cores}'.strip(), (place, rate), xytext=(0, 3),
      textcoords='offset points', ha='center', va='bottom', fontsize=9,
    )  # fmt: skip
  axis.set_xticks(places, [str(row['processes']) for row in rows])
  axis.yaxis.set_major_formatter('{x:,.0f}')
  axis.margins(y=0.2)
  clients = {row['clients'] for row in rows}
  axis.set_title(
    f'Closed loop, {"/".join(map(str, sorted(clients)))} clients',
    loc='left',
    fontsize=11,
  )
  axis.set(xlabel=f'processes on {os.cpu_count()} cores', ylabel='tokens a second')


def plain_ticks(low, high):
  """Returns the numbers 1, 2 and 5 times powers of ten that enclose a range above 0."""
  first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
  # Powers below one by division: 10.0**-2 times 5 is not quite 0.05.
  near = [
    digit * 10**power if power >= 0 else digit / 10**-power
    for power in range(first, last + 1)
    for digit in (1, 2, 5)
  ]
  start = max(i for i, tick in enumerate(near) if tick <= low)
  end = min(i for i, tick in enumerate(near) if tick >= high)
  return near[start : max(end, start + 1) + 1]


def _draw_open(axis, rows):
  from matplotlib.ticker import NullLocator

  for i, processes in enumerate(sorted({row['processes'] for row in rows})):
    mine = [row for row in rows if row['processes'] == processes]
    mine.sort(key=lambda row: row['rate'])
    axis.plot(
      [row['rate'] for row in mine],
      [1000 * row['first_token_p95'] for row in mine],
      color=COLORS[i % len(COLORS)], marker=MARKERS[i % len(MARKERS)],
      label=f'{processes} process' + 'es' * (processes > 1),
    )  # fmt: skip
  axis.set_yscale('log')
  # Where nothing was answered, the wait is not a number.
  waits = [1000 * one for row in rows if (one := row['first_token_p95']) > 0]
  if waits:
    ticks = plain_ticks(min(waits), max(waits))
    axis.set_yticks(ticks, [f'{tick:g}' for tick in ticks])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(ticks[0], ticks[-1])
  rates = sorted({row['rate'] for row in rows})
  axis.set_xticks(rates, [f'{rate:g}' for rate in rates])
  axis.set_title('Open loop: first token, 95 %', loc='left', fontsize=11)
  axis.set(xlabel='requests a second', ylabel='ms')
  axis.legend(frameon=False)
