"""The page of an opinion monitor: trends, alerts, charts in one HTML file."""

import datetime
import tempfile

from gpt_jax.opinion import duration, run_length, shares
from gpt_jax.opinion.monitor import ALL, moment
from gpt_jax.plots import opinion_figures, task_figures
from gpt_jax.reports import page
from gpt_jax.reports.table_formats import NOTHING
from gpt_jax.reports.task_page import grid
from gpt_jax.workdir import files

BUCKETS = 500
"""Of a chart, the last ones."""
ALERTS = 25
RISES = (0.05, 0.1, 0.2)


def write(path, monitor, points, alerts, facts):
  """Writes the page of a `Monitor`; returns `path`.

  `points` and `alerts`: the records of its logs; `facts`: {name: text} of the settings
  besides its own. All that comes from texts is escaped.
  """
  files.write_text(path, render(monitor, points, alerts, facts))
  return path


def render(monitor, points, alerts, facts):
  """Returns the HTML of the page."""
  points_of = {name: [] for name in monitor.watches}
  for one in points:
    points_of[one['chart']].append(one)
  points_of = {name: own[-BUCKETS:] for name, own in points_of.items() if own}
  opened = [one for one in alerts if one['event'] == 'opened']
  with tempfile.TemporaryDirectory() as folder:
    return (
      page.environment()
      .get_template('opinion_page.html.jinja')
      .render(
        title='Opinion monitor',
        badges=_badges(monitor, opened),
        span=_span(monitor),
        notes=_notes(monitor),
        trends=_trends(points_of, folder),
        summary=_summary(monitor, points_of),
        alerts=[_shown(one, alerts) for one in reversed(opened[-ALERTS:])],
        num_hidden=max(0, len(opened) - ALERTS),
        method=_method(monitor.settings),
        charts=[
          (name, _chart(monitor, name, own, number, folder))
          for number, (name, own) in enumerate(points_of.items())
        ],
        delays=_delays(monitor),
        read=[(key.replace('_', ' '), f'{n:,}') for key, n in monitor.counters.items()],
        bad=grid(('why', 'lines'), monitor.bad.most_common()),
        sources=grid(
          ('source', 'texts'),
          [(name or '(none)', n) for name, n in monitor.sources.most_common(20)],
        ),
        settings=[*_facts(monitor), *facts.items()],
      )
    )


def _badges(monitor, opened):
  found = []
  for name, watch in monitor.watches.items():
    if watch.alert:
      side = 'above' if watch.alert['side'] > 0 else 'below'
      found.append(('not-reproduced', f'{name}: {side} its limits'))
  if not found:
    found.append(('reproduced', 'all charts inside their limits'))
  found.append(('reported', f'{len(opened)} alert' + 's' * (len(opened) != 1)))
  return found


def _span(monitor):
  if monitor.newest == float('-inf'):
    return 'No text so far.'
  now = datetime.datetime.now(datetime.UTC)
  return f'Newest text {moment(monitor.newest)} · page of {now:%Y-%m-%d %H:%M} UTC'


def _notes(monitor):
  learning = [name for name, watch in monitor.watches.items() if watch.chart is None]
  found = []
  if learning:
    wanted = monitor.settings.baseline_buckets
    left = ', '.join(
      f'{name} ({len(monitor.watches[name].learned)})' for name in learning
    )
    found.append(
      f'Still learning what is usual, from {wanted} buckets with texts, and without'
      f' alerts until then: {left}.'
    )
  if monitor.open:
    found.append(
      f'Buckets that are not complete yet and not shown: {len(monitor.open)}.'
    )
  return found


def _summary(monitor, points_of):
  rows = []
  for name, own in points_of.items():
    negative, total = (sum(one[key] for one in own) for key in ('negative', 'total'))
    chart = monitor.watches[name].chart
    usual = _percent(chart.baseline.share) if chart else NOTHING
    low, high = shares.wilson(negative, total)
    row = [name, len(own), total, f'{_percent(negative / total)} ({_pair(low, high)})']
    if monitor.rates:
      true = shares.corrected(negative / total, monitor.rates)
      ends = shares.corrected_interval(negative, total, monitor.rates)
      row.append(f'{_percent(true)} ({_pair(*ends)})')
    rows.append((*row, usual, _percent(own[-1].get('smoothed', own[-1]['share']))))
  corrected = ('corrected for classifier errors',) if monitor.rates else ()
  columns = ('topic', 'buckets', 'texts', 'called negative (95 %)', *corrected, 'usual',
             'last, smoothed')  # fmt: skip
  note = f'Of the last {BUCKETS} buckets of a topic at most; intervals by Wilson.'
  if monitor.rates:
    rates = monitor.rates
    note += (
      ' Corrected by Rogan and Gladen: on the validation set of the sentiment run'
      f' {rates.sensitivity:.1%} of {rates.negatives:,} negative texts are found and'
      f' {rates.specificity:.1%} of {rates.others:,} others are not called negative;'
      ' it holds as far as the stream is like that set. Intervals by Lang and'
      ' Reiczigel.'
    )
  return grid(columns, rows, note)


def _trends(points_of, folder):
  if not points_of:
    return None
  caption = (
    'Negative share as the classifier calls it, over runs of buckets, with 95 %'
    ' intervals.'
  )
  canvas = opinion_figures.trends(points_of)
  alt = f'Negative share of {len(points_of)} topics over time; the table has the values'
  return _drawn(canvas, 'trends', alt, caption, folder)


def _chart(monitor, name, points, number, folder):
  chart = monitor.watches[name].chart
  usual = chart.baseline.share if chart else None
  caption = 'Dots are buckets, the line is their EWMA, which is what is judged.'
  if chart and chart.baseline.texts:
    base = chart.baseline
    caption += (
      f' Usual share {base.share:.1%}, learned from {base.texts:,} texts of'
      f' {base.buckets} buckets; correlation within a bucket {base.correlation:.4f}.'
    )
  canvas = opinion_figures.chart(points, usual)
  shown = [one['share'] for one in points]
  alt = (
    f'Control chart of {name}: {len(points)} buckets, negative share from'
    f' {_percent(min(shown))} to {_percent(max(shown))}, of which'
    f' {sum(bool(one.get("side")) for one in points)} are outside the limits'
  )
  return _drawn(canvas, f'chart-{number}', alt, caption, folder)


def _drawn(canvas, name, alt, caption, folder):
  drawn = task_figures.save(canvas, name, caption, caption, alt, folder)
  return dict(svg=page.inline_svg(drawn), caption=caption)


def _shown(opened, alerts):
  """Returns the parts of an alert as texts."""
  closed = next(
    (
      one
      for one in alerts
      if one['event'] == 'closed'
      and (one['chart'], one['since']) == (opened['chart'], opened['since'])
    ),
    None,
  )
  when = opened['since'] + (
    f' until {closed["bucket"]}' if closed else ', not over yet'
  )
  limit = opened['upper'] if opened['side'] == 'above' else opened['lower']
  text = (
    f'{_percent(opened["share"])} negative ({opened["negative"]:,} of'
    f' {opened["total"]:,}); smoothed {_percent(opened["smoothed"])}, {opened["side"]}'
    f' the limit {_percent(limit)}; usual {_percent(opened["usual_share"])}.'
  )
  if 'corrected' in opened:
    text += (
      f' Corrected for classifier errors {_percent(opened["corrected"])}'
      f' ({_pair(*opened["corrected_interval"])}).'
    )
  return dict(
    topic=opened['chart'], when=when, text=text, examples=opened['examples'],
    is_over=closed is not None,
  )  # fmt: skip


def _method(settings):
  promise = settings.promise
  return (
    f'An EWMA of the negative share of each bucket of {duration.show(settings.bucket)}'
    f' (weight of the newest {settings.smoothing:g}) between probability limits that'
    f' follow the number of texts. At most {promise.per_day:g} false alarms a day,'
    f' charts together ({promise.charts}): a chance of {promise.alpha:.2g} in each'
    f' bucket of a chart, on average one in {promise.run_length:,.0f} buckets'
    f' ({promise.run_length * settings.bucket / run_length.DAY:,.1f} days).'
  )


def _delays(monitor):
  rows = []
  for name, watch in monitor.watches.items():
    if watch.chart is None or not watch.chart.baseline.mean_count:
      continue
    base, settings = watch.chart.baseline, monitor.settings
    total = max(1, round(base.mean_count))
    found = [
      run_length.delay(base, settings.promise.alpha, settings.smoothing, total, rise)
      for rise in RISES
    ]
    rows.append((name, total, *(f'{mean:.1f} ({late})' for mean, late in found)))
  columns = ('topic', 'texts of a bucket', *(f'+{rise:.0%}' for rise in RISES))
  note = 'Buckets until an alert, mean (and within how many 9 of 10 are found).'
  return grid(columns, rows, note)


def _facts(monitor):
  settings = monitor.settings
  usual = f'learned from {settings.baseline_buckets} buckets'
  if settings.usual_share is not None:
    usual = _percent(settings.usual_share)
  return [
    ('Bucket', duration.show(settings.bucket)),
    ('Lateness', f'{duration.show(settings.lateness)} past the end of a bucket'),
    ('Usual share', usual),
    ('Topics', ', '.join(settings.topics) or f'none: {ALL}'),
  ]


def _percent(share):
  return f'{share:.1%}'


def _pair(low, high):
  return f'{low:.1%} to {high:.1%}'
