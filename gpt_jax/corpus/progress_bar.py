"""How far `gpt-jax prepare` is: a bar on a terminal, else a line now and then."""

import contextlib
import sys
import time

_REPORT_SECONDS = 10.0


@contextlib.contextmanager
def show():
  """Yields `progress(done, total, what)`."""
  if not sys.stderr.isatty():
    yield _Lines()
    return
  from rich.console import Console
  from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
  )

  columns = (
    TextColumn('{task.description}'),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
  )
  with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
    tasks = {}

    def advance(done, total, what):
      if what not in tasks:
        tasks[what] = bar.add_task(what, total=total)
      bar.update(tasks[what], completed=done)

    yield advance


class _Lines:
  """Prints a line every `_REPORT_SECONDS`."""

  def __init__(self):
    self._reported = self._started = time.monotonic()

  def __call__(self, done, total, what):
    now = time.monotonic()
    if not done:
      self._started = now
    if now - self._reported >= _REPORT_SECONDS:
      self._reported = now
      seconds = now - self._started
      left = ''
      if 0 < done < total:
        left = f', about {seconds / done * (total - done):.0f} s left'
      line = f'{what}: {done} of {total}, {seconds:.0f} s{left}'
      print(line, file=sys.stderr, flush=True)
