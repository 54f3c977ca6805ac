"""A sweep on the screen: a live table on a terminal, plain lines elsewhere."""

import time

from gpt_jax.sweeps import states
from gpt_jax.tracking import console


class Display:
  """Shows the Progress of a sweep process."""

  def __init__(self, progress, out=None):
    self._progress = progress
    self._out = out or console.make_console()
    self._since = {}
    self._has_waited = False

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    pass

  def started(self, point):
    self._since[point.name] = time.monotonic()
    self._say(f'start  {point.name}')

  def ended(self, point, outcome):
    seconds = time.monotonic() - self._since.pop(point.name)
    text = '' if outcome.kind == states.DONE else f': {outcome.why}'
    self._say(f'{outcome.kind}  {point.name}  {console.duration(seconds)}{text}')

  def waiting(self):
    if not self._has_waited:
      self._has_waited = True
      for name, owner in self._progress.elsewhere.items():
        self._say(f'waiting for {name}: {owner} is at work there')

  def _say(self, text):
    progress = self._progress
    counts = f'[{len(progress.done)}/{len(progress.points)}]'
    self._out.print(f'{counts} {text}', markup=False, highlight=False, soft_wrap=True)
