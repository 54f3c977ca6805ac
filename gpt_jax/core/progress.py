"""How far a long read or copy is: a bar on a terminal, else a line now and then."""

import contextlib
import sys
import time

_REPORT_SECONDS = 10.0  # between lines, where there is no terminal


@contextlib.contextmanager
def shown(label, total=None, is_shown=True):
  """Gives `advance(count)`, which is told each count of bytes or characters done.

  `total`: how many there are, None where that is not known.
  """
  if not is_shown or not sys.stderr.isatty():
    yield _lines(label, total) if is_shown else lambda count: None
    return
  from rich.console import Console
  from rich.progress import Progress

  with Progress(console=Console(stderr=True), transient=True) as bar:
    task = bar.add_task(label, total=total)
    yield lambda count: bar.advance(task, count)


def _lines(label, total):
  """Returns `advance(count)`, which prints a line every `_REPORT_SECONDS`."""
  done, started, reported = 0, time.monotonic(), time.monotonic()
  of_all = f' of {total / 1e6:.0f}' if total else ''

  def advance(count):
    nonlocal done, reported
    done += count
    now = time.monotonic()
    if now - reported >= _REPORT_SECONDS:
      reported = now
      line = f'{label}: {done / 1e6:.0f}{of_all} MB, {now - started:.0f} s'
      print(line, file=sys.stderr, flush=True)

  return advance
