"""Counting by time and topic, judging complete buckets, alerts that open and close."""

import json

import pytest

from gpt_jax.opinion import events, shares
from gpt_jax.opinion.monitor import ALL, Monitor, moment
from tests.opinion import streams
from tests.opinion.streams import HOUR, START

NOW = START + 1000 * HOUR


def feed(monitor, lines, heads=None):
  """Returns (points, alerts) of JSON lines, judged after each."""
  heads, points, alerts = heads or streams.Heads(), [], []
  for line in lines:
    event = events.parse(line.encode(), NOW)
    if monitor.is_new(event):
      monitor.add(event, *heads.judge([event.text]), NOW)
    found = monitor.judge()
    points, alerts = points + found[0], alerts + found[1]
  return points, alerts


def line(hour, text='a bad', **fields):
  return json.dumps(dict(time=START + hour * HOUR, text=text, **fields))


def test_a_bucket_is_judged_once_it_is_complete():
  monitor = Monitor(streams.settings())
  assert feed(monitor, [line(0.5), line(0.2, 'b good'), line(1.1)]) == ([], [])
  points, _ = feed(monitor, [line(1.2)])  # 10 minutes of lateness are over
  counts = {one['chart']: (one['negative'], one['total']) for one in points}
  assert counts == {ALL: (1, 2), 'a': (1, 1), 'b': (0, 1)}
  assert [one['start'] for one in points] == [START] * 3


def test_events_out_of_order_count_and_late_ones_do_not():
  monitor = Monitor(streams.settings())
  points, _ = feed(monitor, [line(1.05), line(0.9), line(1.2), line(0.95), line(2.5)])
  totals = {one['start']: one['total'] for one in points if one['chart'] == ALL}
  assert totals == {START: 1, START + HOUR: 2}
  assert monitor.counters['late'] == 1


def test_an_id_is_counted_once():
  monitor = Monitor(streams.settings())
  feed(monitor, [line(0, id=1), line(0, id=1), line(0, id=2), line(0), line(0)])
  assert (monitor.counters['events'], monitor.counters['repeated']) == (4, 1)


def test_a_planted_surge_opens_one_alert_and_its_end_closes_it():
  monitor = Monitor(streams.settings())
  stream = streams.lines(60, surge=range(30, 40))
  points, alerts = feed(monitor, stream)
  own = [one for one in alerts if one['chart'] == 'b']
  assert [one['event'] for one in own] == ['opened', 'closed']
  assert START + 30 * HOUR <= _start(own[0], points) <= START + 32 * HOUR
  assert START + 40 * HOUR <= _start(own[1], points) <= START + 47 * HOUR
  assert own[0]['side'] == 'above' and own[0]['smoothed'] > own[0]['upper']
  assert own[0]['examples'] == ['b bad'] * 3
  assert own[0]['id'] == f'b/{moment(_start(own[0], points))}/opened'
  assert [one['chart'] for one in alerts].count('a') == 0


def _start(alert, points):
  return next(one['start'] for one in points if moment(one['start']) == alert['bucket'])


def test_a_share_that_falls_is_an_alert_as_well():
  monitor = Monitor(streams.settings(usual_share=0.5, topics=()))
  _, alerts = feed(monitor, streams.lines(8, share=0.02))
  assert alerts[0]['side'] == 'below' and alerts[0]['chart'] == ALL


def test_a_saved_monitor_continues_as_if_nothing_had_happened():
  stream = streams.lines(40, surge=range(25, 40))
  whole = Monitor(streams.settings())
  points, alerts = feed(whole, stream)
  first = Monitor(streams.settings())
  early = feed(first, stream[:997])
  second = Monitor(streams.settings())
  second.restore(json.loads(json.dumps(first.to_json())))
  late = feed(second, stream[997:])
  assert (early[0] + late[0], early[1] + late[1]) == (points, alerts)
  assert second.to_json() == whole.to_json()
  assert any(one['event'] == 'opened' for one in alerts)


def test_shares_are_corrected_where_error_rates_are_known():
  rates = shares.ErrorRates(100, 90, 100, 80)
  monitor = Monitor(streams.settings(), rates)
  points, _ = feed(monitor, [line(0), line(0, 'a good'), line(2)])
  assert points[0]['corrected'] == pytest.approx((0.5 - 0.2) / 0.7)
  low, high = points[0]['corrected_interval']
  assert low < points[0]['corrected'] < high


def test_learning_anew_forgets_what_was_usual():
  monitor = Monitor(streams.settings(baseline_buckets=2))
  feed(monitor, streams.lines(5))
  assert monitor.watches['a'].chart is not None
  monitor.relearn()
  assert monitor.watches['a'].chart is None


def test_endless_new_sources_are_counted_together():
  monitor = Monitor(streams.settings())
  feed(monitor, [line(0, source=f'site {i}') for i in range(300)])
  assert len(monitor.sources) <= 201 and monitor.sources['(others)'] == 100
