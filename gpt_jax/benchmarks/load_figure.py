"""Load on servers drawn as a PNG: what they can do, and what requests wait."""

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
  axis.margins(y=0.2)
  clients = {row['clients'] for row in rows}
  axis.set_title(
    f'Closed loop, {"/".join(map(str, sorted(clients)))} clients',
    loc='left',
    fontsize=11,
  )
  axis.set(xlabel=f'processes on {os.cpu_count()} cores', ylabel='tokens a second')


def _draw_open(axis, rows):
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
  axis.set_title('Open loop: first token, 95 %', loc='left', fontsize=11)
  axis.set(xlabel='requests a second', ylabel='ms')
  axis.legend(frameon=False)
