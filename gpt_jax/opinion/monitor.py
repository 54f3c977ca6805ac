"""Counts opinions by time and topic, and judges each bucket once it is complete.

A bucket of event time is complete when the newest event is `lateness` past its end;
what comes later still is counted as late, and changes nothing that was judged. No
clock, no disk and no model here: `service.py` brings them together.
"""

import collections
import dataclasses
import datetime
import math
from typing import Any

from gpt_jax.opinion import baseline, control_chart, run_length, shares

ALL = 'all texts'
"""The chart of everything, beside those of topics."""
EXAMPLES = 3
"""Negative texts kept of a bucket and topic, those of the highest probability."""
EXAMPLE_LETTERS = 280
KEPT_IDS = 5000
MAX_SOURCES = 200
OTHER_SOURCES = '(others)'
COUNTERS = ('events', 'bad', 'late', 'without_time', 'repeated', 'dropped')


@dataclasses.dataclass(frozen=True)
class Settings:
  """What may not change between two starts of a monitor."""

  topics: tuple[str, ...]
  """'' without a topic head: there is the chart of all texts alone."""
  bucket: float
  """Seconds."""
  lateness: float
  """Seconds."""
  smoothing: float
  """Lambda of the chart: 1 is a p chart."""
  false_alarms: float
  """A day, over all charts."""
  baseline_buckets: int
  """Complete buckets with texts from which a chart learns what is usual."""
  usual_share: float | None
  """Given instead of learned."""

  @property
  def charts(self):
    return (ALL, *self.topics) if len(self.topics) > 1 else (ALL,)

  @property
  def promise(self):
    return run_length.promise(self.false_alarms, len(self.charts), self.bucket)


@dataclasses.dataclass
class _Watch:
  """A chart, and what it has learned so far."""

  learned: list = dataclasses.field(default_factory=list)
  """[negative, total] of buckets, until the chart begins."""
  chart: Any = None
  alert: dict | None = None
  """The alert that is open."""


class Monitor:
  """The state of a monitor; the same events in the same order give the same state."""

  def __init__(self, settings, rates=None):
    """Takes Settings, and the `shares.ErrorRates` of the classifier where known."""
    self.settings, self.rates = settings, rates
    self.counters = dict.fromkeys(COUNTERS, 0)
    self.bad = collections.Counter()
    self.sources = collections.Counter()
    self.newest, self.newest_arrival = -math.inf, -math.inf
    self.judged_until = -math.inf
    self.open = {}  # start -> {chart: [negative, total, examples]}
    self.watches = {name: _Watch() for name in settings.charts}
    self._ids = collections.OrderedDict()
    if settings.usual_share is not None:
      for watch in self.watches.values():
        watch.chart = self._chart(baseline.given(settings.usual_share))

  def is_new(self, event):
    """Returns whether the event's id has not been seen, and remembers it."""
    if event.key and event.key in self._ids:
      self.counters['repeated'] += 1
      return False
    if event.key:
      self._ids[event.key] = None
      if len(self._ids) > KEPT_IDS:
        self._ids.popitem(last=False)
    return True

  def add_bad(self, reason):
    """Counts a line that is no event."""
    self.counters['bad'] += 1
    self.bad[reason] += 1

  def add(self, event, opinion, arrival, redact=lambda text: text):
    """Counts an event; `opinion` has `topic`, `is_negative` and `probability`.

    `redact`: of a text that is kept as an example.
    """
    self.counters['events'] += 1
    self.counters['without_time'] += not event.has_time
    if opinion is None:
      self.counters['dropped'] += 1
      return
    start = self._start(event.time)
    if start < self.judged_until:
      self.counters['late'] += 1
      return
    if event.time > self.newest:
      self.newest, self.newest_arrival = event.time, arrival
    is_known = event.source in self.sources or len(self.sources) < MAX_SOURCES
    self.sources[event.source if is_known else OTHER_SOURCES] += 1
    counts = self.open.setdefault(start, {})
    for name in (ALL, opinion.topic) if len(self.watches) > 1 else (ALL,):
      cell = counts.setdefault(name, [0, 0, []])
      cell[0] += opinion.is_negative
      cell[1] += 1
      if opinion.is_negative:
        _keep(cell[2], opinion.probability, event.text, redact)

  def judge(self, watermark=None):
    """Returns (points, alerts) of the buckets that are complete by `watermark`.

    Dicts of plain values, in time. `watermark`: default, the newest event.
    """
    watermark = self.newest if watermark is None else watermark
    points, alerts = [], []
    while self.open:
      start = min(self.open)
      if start + self.settings.bucket + self.settings.lateness > watermark:
        break
      for name, cell in sorted(self.open.pop(start).items()):
        point, alert = self._judge(name, start, *cell)
        points.append(point)
        alerts += [alert] if alert else []
      self.judged_until = start + self.settings.bucket
    return points, alerts

  def relearn(self):
    """Lets all charts learn anew what is usual; open alerts end without a word."""
    for watch in self.watches.values():
      watch.learned, watch.chart, watch.alert = [], None, None

  def _judge(self, name, start, negative, total, examples):
    watch = self.watches[name]
    point = dict(chart=name, start=start, negative=negative, total=total)
    point['share'] = negative / total
    point['interval'] = list(shares.wilson(negative, total))
    if self.rates:
      point['corrected'] = shares.corrected(negative / total, self.rates)
      found = shares.corrected_interval(negative, total, self.rates)
      point['corrected_interval'] = list(found)
    if watch.chart is None:
      watch.learned.append([negative, total])
      if len(watch.learned) >= self.settings.baseline_buckets:
        watch.chart = self._chart(baseline.learn(*zip(*watch.learned, strict=True)))
        watch.learned = []
      return point, None
    found = watch.chart.step(negative, total)
    point |= dataclasses.asdict(found)
    return point, self._alert(watch, point, examples)

  def _alert(self, watch, point, examples):
    """Returns the alert that begins or ends with a point, or None."""
    if watch.alert is None and point['side']:
      watch.alert = dict(since=point['start'], side=point['side'])
      what = 'opened'
    elif watch.alert is not None and not point['side']:
      watch.chart.reset()
      what = 'closed'
    else:
      return None
    usual, opened = watch.chart.baseline.share, watch.alert
    if what == 'closed':
      watch.alert = None
    found = dict(
      id=f'{point["chart"]}/{moment(opened["since"])}/{what}',
      event=what, chart=point['chart'], bucket=moment(point['start']),
      bucket_seconds=self.settings.bucket, since=moment(opened['since']),
      side='above' if opened['side'] > 0 else 'below', usual_share=usual,
      false_alarms_per_day=self.settings.false_alarms,
    )  # fmt: skip
    kept = ('negative', 'total', 'share', 'interval', 'corrected', 'corrected_interval',
            'smoothed', 'lower', 'upper')  # fmt: skip
    found |= {key: point[key] for key in kept if key in point}
    return found | dict(examples=[text for _, text in examples])

  def _chart(self, usual):
    alpha = self.settings.promise.alpha
    return control_chart.Chart(usual, alpha, self.settings.smoothing)

  def _start(self, time):
    return math.floor(time / self.settings.bucket) * self.settings.bucket

  def to_json(self):
    """Returns plain values from which `restore` continues."""
    numbers = {
      name: None if math.isinf(value := getattr(self, name)) else value
      for name in ('newest', 'newest_arrival', 'judged_until')
    }
    watches = {
      name: dict(
        learned=watch.learned, alert=watch.alert,
        baseline=watch.chart and dataclasses.asdict(watch.chart.baseline),
        chart=watch.chart and watch.chart.to_json(),
      )
      for name, watch in self.watches.items()
    }  # fmt: skip
    return numbers | dict(
      counters=self.counters, bad=dict(self.bad), sources=dict(self.sources),
      open=[[start, counts] for start, counts in self.open.items()],
      watches=watches, ids=list(self._ids),
    )  # fmt: skip

  def restore(self, saved):
    """Takes the state of `to_json`."""
    for name in ('newest', 'newest_arrival', 'judged_until'):
      setattr(self, name, -math.inf if saved[name] is None else saved[name])
    self.counters = dict(saved['counters'])
    self.bad = collections.Counter(saved['bad'])
    self.sources = collections.Counter(saved['sources'])
    self.open = {start: counts for start, counts in saved['open']}
    self._ids = collections.OrderedDict.fromkeys(saved['ids'])
    for name, kept in saved['watches'].items():
      watch = self.watches[name]
      watch.learned, watch.alert = kept['learned'], kept['alert']
      watch.chart = None
      if kept['chart']:
        watch.chart = self._chart(baseline.Baseline(**kept['baseline']))
        watch.chart.restore(kept['chart'])


def moment(seconds):
  """Returns seconds since 1970 as ISO 8601 in UTC."""
  found = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  return found.isoformat(timespec='seconds').replace('+00:00', 'Z')


def _keep(examples, probability, text, redact):
  """Puts a text among the EXAMPLES of the highest probability."""
  if len(examples) == EXAMPLES and probability <= examples[-1][0]:
    return
  shown = ' '.join(redact(text).split())
  if len(shown) > EXAMPLE_LETTERS:
    shown = f'{shown[: EXAMPLE_LETTERS - 1]}…'
  examples.append([probability, shown])
  examples.sort(key=lambda one: -one[0])
  del examples[EXAMPLES:]
