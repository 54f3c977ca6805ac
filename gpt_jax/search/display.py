"""A search on the screen: a live table of its best trials, plain lines elsewhere."""

import contextlib
import os
import time

import rich.console
import rich.live
import rich.text

from gpt_jax.search import outputs, search, trial_run
from gpt_jax.tracking import console

LIVE_ROWS = 8
REFRESH_SECONDS = 0.5


class Display:
  """Shows a Search while this process works on it; a context manager."""

  def __init__(self, found, out=None):
    self._found = found
    self._out: rich.console.Console | None = out
    self._since, self._now = 0.0, ''
    self._has_waited = False
    self._shown_at = -1.0

  def __enter__(self):
    self._stack = contextlib.ExitStack()
    if self._out is None:
      # A run sends what it prints to a file of its own: this stays on the screen.
      file = self._stack.enter_context(os.fdopen(os.dup(1), 'w', encoding='utf-8'))
      self._out = rich.console.Console(file=file)
    self._live = None
    if self._out.is_terminal:
      self._live = self._stack.enter_context(
        rich.live.Live(console=self._out, auto_refresh=False, transient=True)
      )
    return self

  def __exit__(self, *exception):
    self._stack.close()

  def started(self, number, values, was_taken_up):
    """Shows the trial that begins, or continues where a dead process left it."""
    self._since, self._has_waited = time.monotonic(), False
    text = ', '.join(f'{f}={outputs.shown(v)}' for f, v in values.items())
    self._now = f'{search.trial_name(number)}: {text}'
    self._say(f'{"continues" if was_taken_up else "start"} {self._now}')

  def stepped(self, step, total):
    """Shows how far the present trial is."""
    if self._live and time.monotonic() - self._shown_at > REFRESH_SECONDS:
      self._refresh(f'{self._now}: step {step}/{total}')

  def ended(self, number, ended):
    """Shows what became of a trial."""
    seconds = console.duration(time.monotonic() - self._since)
    value = f' {ended.value:.4f}' if ended.value == ended.value else ''
    text = f'{ended.kind} {search.trial_name(number)}{value} in {seconds}'
    if ended.kind == trial_run.PRUNED:
      text += f', at step {ended.step}'
    if ended.why:
      text += f': {ended.why}'
    if (best := self._found.best()) is not None:
      text += f' (best {best.value:.4f}, {search.trial_name(best.number)})'
    self._say(text)

  def waiting(self):
    """Says once that other processes are at work on the last trials."""
    if not self._has_waited:
      self._has_waited = True
      self._say('waiting for trials at which other processes are at work')

  def _say(self, text):
    assert self._out is not None
    listed = outputs.trials(self._found)
    over = sum(one['state'] != 'running' for one in listed)
    counts = f'[{over}/{self._found.num_trials}]'
    self._out.print(f'{counts} {text}', markup=False, highlight=False, soft_wrap=True)
    self._out.file.flush()
    if self._live:
      self._refresh(self._now)

  def _refresh(self, text):
    assert self._live is not None
    self._shown_at = time.monotonic()
    listed = outputs.trials(self._found)
    shown = outputs.table(self._found, listed, LIVE_ROWS)
    self._live.update(rich.console.Group(shown, rich.text.Text(text)), refresh=True)
