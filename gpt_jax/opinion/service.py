"""A monitor at work: reads lines, asks the heads, judges, commits, tells.

After each batch the position in the source, the counts and the alerts are committed
together (`folder.py`). Alerts that nobody could be told of are told again later.
"""

import math
import time

from gpt_jax.opinion import events

BATCH = 256
POLL_SECONDS = 0.5
MAX_UNSENT = 1000


class Service:
  """Brings source, heads, monitor, folder and hooks together."""

  def __init__(
    self, source, heads, monitor, folder, *, hooks=(), redact=lambda text: text,
    say=print, clock=time.time,
  ):  # fmt: skip
    """Takes an open Folder, whose state `restore` has given to the others."""
    self._source, self._heads, self._monitor = source, heads, monitor
    self._folder, self._hooks, self._redact = folder, hooks, redact
    self._say, self._clock = say, clock
    self.unsent = []
    self.settings = {}  # kept in the state beside the counts

  def run(
    self, *, is_live, stop, on_judged=lambda: None, sleep=time.sleep, close=False
  ):
    """Works until `stop()`, or until there is no line left and none `is_live()`.

    `on_judged` is called after buckets were judged; `close`: those that are open at the
    end are judged as well.
    """
    while not stop():
      may_grow = is_live()  # asked first: what came before it said no is read
      if not self.step():
        if not may_grow:
          break
        self.idle()
        sleep(POLL_SECONDS)
      if self._has_judged:
        on_judged()
    if close and not stop():
      self._commit(math.inf)

  def step(self):
    """Returns whether there was a batch of lines; it is counted and committed."""
    lines = self._source.read(BATCH)
    for note in self._source.notes:
      self._say(note)
    self._source.notes.clear()
    self._has_judged = False
    if not lines:
      return False
    now = self._clock()
    fresh = []
    for _, line in lines:
      try:
        event = events.parse(line, now)
      except events.BadLine as error:
        self._monitor.add_bad(str(error))
        continue
      if self._monitor.is_new(event):
        fresh.append(event)
    opinions = self._heads.judge([event.text for event in fresh]) if fresh else []
    # Buckets of one batch are judged after it: its lines may be in any order.
    for event, opinion in zip(fresh, opinions, strict=True):
      self._monitor.add(event, opinion, now, self._redact)
    self._commit(None)
    return True

  def idle(self):
    """Judges what has become complete because time has passed without new lines."""
    if self._monitor.open:
      passed = self._clock() - self._monitor.newest_arrival
      self._commit(self._monitor.newest + passed, only_if_judged=True)
    elif self.unsent:
      self._commit(None)

  def _commit(self, watermark, only_if_judged=False):
    points, alerts = self._monitor.judge(watermark)
    self._has_judged = bool(points)
    if only_if_judged and not points and not self.unsent:
      return
    for alert in alerts:
      self._say(describe(alert))
    if self._hooks:
      self.unsent = [*self.unsent, *alerts][-MAX_UNSENT:]
    self._save(points, alerts)
    if self.unsent:
      self._send()
      self._save([], [])
    self._source.committed()

  def _save(self, points, alerts):
    state = dict(
      settings=self.settings, position=self._source.position,
      monitor=self._monitor.to_json(), unsent=self.unsent,
    )  # fmt: skip
    self._folder.commit(state, points, alerts)

  def _send(self):
    """Tells of alerts in order; the first failure leaves the rest for later."""
    while self.unsent:
      for send in self._hooks:
        if problem := send(self.unsent[0]):
          self._say(f'an alert could not be told, and will be again: {problem}')
          return
      self.unsent = self.unsent[1:]


def describe(alert):
  """Returns an alert as a line."""
  if alert['event'] == 'closed':
    return (
      f'{alert["bucket"]}  {alert["chart"]}: back inside its limits, since'
      f' {alert["since"]} {alert["side"]}'
    )
  limit = alert['upper'] if alert['side'] == 'above' else alert['lower']
  return (
    f'{alert["bucket"]}  ALERT {alert["chart"]}: negative share {alert["share"]:.1%}'
    f' ({alert["negative"]} of {alert["total"]}), smoothed {alert["smoothed"]:.1%},'
    f' {alert["side"]} the limit {limit:.1%}; usual {alert["usual_share"]:.1%}'
  )
