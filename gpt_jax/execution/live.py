"""A sweep on the screen: a live table on a terminal, plain lines elsewhere."""

import os
import sys
import threading
import time

import rich.live
import rich.progress_bar
import rich.table
import rich.text

from gpt_jax.execution import overview
from gpt_jax.sweeps import pace, states
from gpt_jax.tracking import console

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 30.0
MAX_ROWS = 16  # of runs at work; the rest is counted


class Display:
  """Shows the `runner.Progress` of a sweep process; a context manager."""

  def __init__(self, study, progress, out=None, clock=time.time):
    self._study, self._progress, self._clock = study, progress, clock
    self._out = out or _screen()
    self._by_name = {point.name: point for point in progress.points}
    done = [point for point in progress.points if point.name in progress.done]
    self._estimate = pace.Estimate(study, done)
    self._begun, self._first = {}, {}  # name -> time; (step, time) first seen
    self._ended, self._has_waited = threading.Event(), False
    self._live = rich.live.Live(
      get_renderable=self.table,
      console=self._out,
      refresh_per_second=1 / REFRESH_SECONDS,
      redirect_stdout=False,  # a run in this process has its own log
      redirect_stderr=False,
      transient=True,
    )

  def __enter__(self):
    if self._out.is_terminal:
      self._live.start()
    else:
      threading.Thread(target=self._say_progress, daemon=True).start()
    return self

  def __exit__(self, *exception):
    self._ended.set()
    self._live.stop()

  def started(self, point):
    self._begun[point.name] = self._clock()
    if not self._out.is_terminal:
      self._say(f'start   {point.name}')

  def ended(self, point, outcome):
    """Says what became of a point; learns from its time."""
    seconds = self._clock() - self._begun.pop(point.name, self._clock())
    self._first.pop(point.name, None)
    told = f'{outcome.kind:7} {point.name}  {console.duration(seconds)}'
    if outcome.kind == states.DONE:
      loss = pace.last_logged(point.workdir).loss
      told += '' if loss is None else f'  loss {console.number(float(loss))}'
      self._estimate.add(point, seconds)
    else:
      told += f'  {outcome.why}'
    self._say(told, style=overview.STYLES[outcome.kind])

  def waiting(self):
    """Says, once, for which processes a sweep waits that has nothing else to do."""
    if not self._has_waited:
      self._has_waited = True
      for name, owner in self._progress.elsewhere.items():
        self._say(f'waiting {name}: {owner} is at work there')

  def _say(self, text, style=None):
    progress = self._progress
    counts = f'[{len(progress.done)}/{len(progress.points)}]'
    self._out.print(
      f'{counts} {text}', style=style, markup=False, highlight=False, soft_wrap=True
    )

  def _say_progress(self):
    while not self._ended.wait(PLAIN_SECONDS):
      for point in list(self._progress.running.values()):
        self._say(f'at work {point.name}: {overview.described_reach(point)}')
      self._say(f'about {console.duration(self._seconds_left())} left')

  def table(self):
    table = rich.table.Table.grid(padding=(0, 2))
    for justify in ('left', 'right', 'right', 'right'):
      table.add_column(justify=justify, no_wrap=True)
    progress = self._progress
    names = [*progress.running, *progress.elsewhere]
    for name in names[:MAX_ROWS]:
      table.add_row(*self._row(self._by_name[name]))
    if len(names) > MAX_ROWS:
      table.add_row(f'and {len(names) - MAX_ROWS} more at work', '', '', '')
    grid = rich.table.Table.grid()
    grid.add_row(table)
    grid.add_row(self._totals())
    return grid

  def _row(self, point):
    found, steps = pace.last_logged(point.workdir), states.total_steps(point.config)
    loss = 'starting' if found.loss is None else f'loss {found.loss:.4f}'
    where = '' if point.name in self._progress.running else ' (elsewhere)'
    return (
      rich.text.Text(point.name + where, 'cyan'),
      f'step {found.step}/{steps}',
      loss,
      f'eta {console.duration(self._seconds_of(point, found))}',
    )

  def _totals(self):
    progress = self._progress
    waiting = progress.num_left - len(progress.running) - len(progress.elsewhere)
    parts = [
      (f'{len(progress.done)} done', overview.STYLES[states.DONE]),
      (f'{len(progress.running)} running', overview.STYLES[states.RUNNING]),
      (f'{len(progress.failed)} failed', overview.STYLES[states.FAILED]),
      (f'{max(0, waiting)} missing', ''),
      (f'eta {console.duration(self._seconds_left())}', 'bold'),
    ]
    text = rich.text.Text('  ').join(rich.text.Text(*part) for part in parts)
    bar = rich.progress_bar.ProgressBar(
      total=len(progress.points), completed=len(progress.done), width=30,
      complete_style='cyan', finished_style='green',
    )  # fmt: skip
    line = rich.table.Table.grid(padding=(0, 2))
    line.add_row(bar, text)
    return line

  def _seconds_of(self, point, found):
    """Returns the seconds left of a run, by its own pace once that shows."""
    first = found.step, found.time
    if found.step:
      first = self._first.setdefault(point.name, first)
    steps, seconds = found.step - first[0], found.time - first[1]
    steps_in_all = states.total_steps(point.config)
    if steps > 0 and seconds > 0:
      return (steps_in_all - found.step) * seconds / steps
    return self._estimate.seconds(point, 1.0 - found.step / steps_in_all)

  def _seconds_left(self):
    progress = self._progress
    at_work = [*progress.running, *progress.elsewhere]
    gone = {*progress.done, *progress.failed, *progress.blocked(), *at_work}
    waiting = [point for point in progress.points if point.name not in gone]
    seconds = self._estimate.seconds_of(waiting) + sum(
      self._estimate.seconds(point, pace.share_left(point))
      for point in map(self._by_name.get, at_work)
    )
    return seconds / max(1, len(at_work))


def _screen():
  """Returns a console on what standard output is now, whatever it becomes."""
  # A run in this process has its standard output sent to its log.
  try:
    copy = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
  except (OSError, ValueError, AttributeError):  # no file, as in tests
    copy = sys.stdout
  return console.make_console(file=copy)
