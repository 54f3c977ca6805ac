"""Progress of a run on the console: a live line on a terminal, plain lines elsewhere.

A plain line appears at the first step, every `plain_seconds` and at the last step.
"""

import time

import rich.box
import rich.console
import rich.progress
import rich.table
import rich.text

from gpt_jax.core import pipes

PLAIN_SECONDS = 10.0


class TrainConsole:
  """Shows a run of `total_steps`. A context manager; silent when not `enabled`."""

  def __init__(
    self,
    total_steps,
    *,
    enabled=True,
    console=None,
    clock=time.monotonic,
    plain_seconds=PLAIN_SECONDS,
  ):
    self._total_steps = total_steps
    self._console = console or make_console(quiet=not enabled)
    self._clock = clock
    self._plain_seconds = plain_seconds
    self._first = None  # (step, time) of the first update: the step that compiles
    self._printed_at = None
    self._is_live = self._console.is_terminal and not self._console.quiet
    self._bar = rich.progress.Progress(
      # Named colours: shades of the default bar look the same where colours are few.
      rich.progress.BarColumn(None, complete_style='cyan', finished_style='green'),
      rich.progress.TextColumn('{task.description}', markup=False),
      console=self._console,
      expand=True,
      refresh_per_second=4,
      get_time=clock,
      disable=not self._is_live,
    )
    self._task = self._bar.add_task('compiling ...', total=total_steps)

  def __enter__(self):
    self._bar.start()
    return self

  def __exit__(self, *exception):
    self._bar.stop()

  def update(self, step, *, loss, learning_rate, tokens_per_second, mfu=None):
    """Shows the state after `step`; `mfu` is a fraction, None if unknown."""
    now = self._clock()
    if self._first is None:
      self._first = (step, now)
    line = _join(
      f'step {step}/{self._total_steps}',
      f'loss {loss:.4f}',
      f'lr {learning_rate:.2e}',
      f'{si(tokens_per_second)} tok/s',
      None if mfu is None else f'MFU {mfu:.1%}',
      self._eta(step, now, *self._first),
    )
    if self._is_live:
      self._bar.update(self._task, completed=step, description=line)
    elif self._is_due(step, now):
      self._printed_at = now
      self.note(line)

  def show_evaluation(self, step, name, metrics):
    """Prints the metrics of one evaluation set, a dict of numbers by name."""
    shown = [f'{key} {number(value)}' for key, value in metrics.items()]
    self.note(_join(f'step {step}', f'eval {name}', *shown))

  def note(self, text):
    """Prints a line above the live one; skips it when its disk is full."""
    try:
      self._console.print(text, markup=False, highlight=False, soft_wrap=True)
    except BrokenPipeError:
      pipes.mute_closed()  # the run goes on without a reader
    except OSError:
      pass

  def progress(self, iterable, description, total=None):
    """Yields from `iterable` with a second bar below the live line, or plain lines."""
    if not self._is_live:
      given = self.note, self._clock, self._plain_seconds
      yield from _plain_progress(iterable, description, total, *given)
      return
    task = self._bar.add_task(description, total=total)
    try:
      for item in iterable:
        yield item
        self._bar.advance(task)
    finally:
      self._bar.remove_task(task)

  def _eta(self, step, now, first_step, first_time):
    """Returns the time left at the mean step time since the first update, or None."""
    if step <= first_step:
      return None
    step_seconds = (now - first_time) / (step - first_step)
    return f'eta {duration(step_seconds * (self._total_steps - step))}'

  def _is_due(self, step, now):
    is_edge = self._printed_at is None or step >= self._total_steps
    return is_edge or now - self._printed_at >= self._plain_seconds


def progress(
  iterable,
  description,
  total=None,
  *,
  console=None,
  clock=time.monotonic,
  plain_seconds=PLAIN_SECONDS,
):
  """Yields from `iterable` with a progress bar, or a line every `plain_seconds`."""
  console = console or make_console()
  if total is None and hasattr(iterable, '__len__'):
    total = len(iterable)
  if console.is_terminal:
    with rich.progress.Progress(console=console, get_time=clock, transient=True) as bar:
      yield from bar.track(iterable, total=total, description=description)
    return

  def say(line):
    console.print(line, markup=False, highlight=False)

  yield from _plain_progress(iterable, description, total, say, clock, plain_seconds)


def _plain_progress(iterable, description, total, say, clock, plain_seconds):
  """Yields from `iterable` and says a line every `plain_seconds`."""
  printed_at = clock()
  for done, item in enumerate(iterable, start=1):
    yield item
    if clock() - printed_at >= plain_seconds:
      printed_at = clock()
      of_total = '' if total is None else f'/{total}'
      say(f'{description}: {done}{of_total}')


def table(title, columns, rows, *, console=None):
  """Prints a table; numbers are right-aligned and rounded by `number`."""
  grid = rich.table.Table(title=title, title_justify='left', box=rich.box.SIMPLE_HEAD)
  numeric = [
    bool(rows) and all(isinstance(row[i], int | float) for row in rows)
    for i in range(len(columns))
  ]
  for column, is_numeric in zip(columns, numeric, strict=True):
    grid.add_column(column, justify='right' if is_numeric else 'left', no_wrap=True)
  texts = [[number(cell) for cell in row] for row in rows]
  for row in texts:
    # Text, not str: brackets in a cell are not markup.
    grid.add_row(*map(rich.text.Text, row))
  if console is None:
    console = make_console()
    if not console.is_terminal:  # a file has no edge at which cells are cut
      wide = zip(columns, *texts, strict=True)
      console.width = max(console.width, sum(max(map(len, w)) + 3 for w in wide) + 3)
  console.print(grid)


class _Console(rich.console.Console):
  def on_broken_pipe(self):
    raise  # rich calls this where it has caught the error, and would exit with 1


def make_console(**settings):
  """Returns a console on standard output, 120 wide when that is no terminal."""
  console = _Console(**settings)
  return console if console.is_terminal else _Console(**{'width': 120, **settings})


def number(value):
  """Returns a float with four decimals, an int with separators, text as it is."""
  if isinstance(value, str):
    return value
  return f'{value:,}' if isinstance(value, int) else f'{value:,.4f}'


def si(value):
  """Returns a positive number in three digits with k, M, G or T."""
  for unit in ('', 'k', 'M', 'G'):
    # 999.5 would be shown as 1000.
    if value < 999.5:
      return f'{value:.3g}{unit}'
    value /= 1000
  return f'{value:.3g}T'


def duration(seconds):
  """Returns seconds as `m:ss` or `h:mm:ss`, from 100 hours on as days."""
  if seconds >= 360_000:
    return f'{seconds / 86_400:,.0f} days'
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'


def _join(*parts):
  return '  '.join(part for part in parts if part is not None)
