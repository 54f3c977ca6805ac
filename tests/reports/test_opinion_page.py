"""The page of a monitor: whole, escaped, and alone."""

import re

import pytest

from gpt_jax.opinion import events, shares
from gpt_jax.opinion.monitor import Monitor
from gpt_jax.reports import opinion_page
from tests.opinion import streams

RATES = shares.ErrorRates(400, 352, 500, 450)
MARKUP = '<script>alert(1)</script>'


@pytest.fixture(scope='module')
def html():
  monitor, heads, points, alerts = (
    Monitor(streams.settings(), RATES),
    streams.Heads(),
    [],
    [],
  )
  lines = streams.lines(40, surge=range(20, 30))
  for line in (one.replace('b bad', f'b bad {MARKUP}') for one in lines):
    event = events.parse(line.encode(), 2e9)
    monitor.add(event, *heads.judge([event.text]), 2e9)
    found = monitor.judge()
    points, alerts = points + found[0], alerts + found[1]
  monitor.add_bad('not JSON')
  return opinion_page.render(monitor, points, alerts, {'Sentiment': '<b>runs</b>'})


def test_what_comes_from_texts_is_escaped(html):
  assert MARKUP not in html and '&lt;script&gt;alert(1)' in html
  assert '&lt;b&gt;runs&lt;/b&gt;' in html


def test_the_page_needs_nothing_from_elsewhere(html):
  assert re.findall(r'(?:src|href)="(?!#)[^"]*"', html) == []
  assert 'prefers-color-scheme:dark' in html


def test_charts_alerts_delays_and_bad_lines_are_shown(html):
  assert html.count('<svg') == 4  # trends, and three charts
  assert 'not JSON' in html and 'until' in html
  assert 'At most 0.2 false alarms a day' in html
  assert 'Rogan and Gladen' in html
  assert '+10%' in html


def test_a_monitor_without_texts_has_a_page():
  found = opinion_page.render(Monitor(streams.settings()), [], [], {})
  assert 'No text so far' in found and 'Still learning' in found
