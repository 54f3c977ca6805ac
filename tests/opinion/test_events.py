"""Lines of the stream: times in every form, and what is no event."""

import json

import pytest

from gpt_jax.opinion import events

NOW = 1_800_000_000.0
STAMP = 1_769_860_800.0  # 2026-01-31T12:00:00Z


@pytest.mark.parametrize(
  'time',
  [
    STAMP, STAMP * 1000, str(STAMP), '2026-01-31T12:00:00Z', '2026-01-31 12:00',
    '2026-01-31T13:00:00+01:00',
  ],
)  # fmt: skip
def test_times_in_every_form_are_one_moment(time):
  found = events.parse(json.dumps(dict(text='a', time=time)).encode(), NOW)
  assert (found.time, found.has_time) == (STAMP, True)


@pytest.mark.parametrize('fields', [{}, {'time': None}, {'time': ''}])
def test_a_missing_time_is_that_of_arrival(fields):
  found = events.parse(json.dumps(dict(text='a', **fields)).encode(), NOW)
  assert (found.time, found.has_time) == (NOW, False)
  line = json.dumps(dict(text='a', arrived=STAMP, **fields)).encode()
  assert events.parse(line, NOW).time == STAMP  # it waited in the journal


@pytest.mark.parametrize(
  'line, why',
  [
    (b'{"text": ', 'not JSON'),
    (b'[' * 100_000, 'not JSON'),
    (b'\xff\xfe', 'not UTF-8'),
    (b'["a"]', 'not a JSON object'),
    (b'{"time": 1}', 'no text'),
    (b'{"text": "  "}', 'no text'),
    (b'{"text": "a", "time": true}', 'neither a number'),
    (b'{"text": "a", "time": "soon"}', 'neither a number'),
    (b'{"text": "a", "time": NaN}', 'not finite'),
    (b'{"text": "a", "time": -5}', 'before 1970'),
    (b'{"text": "a", "time": 4000000000}', 'a day ahead'),
    (b'x' * (events.MAX_BYTES + 1), 'longer than'),
  ],
)
def test_what_is_no_event_says_why(line, why):
  with pytest.raises(events.BadLine, match=why):
    events.parse(line, NOW)


def test_equal_ids_have_equal_keys():
  keys = [
    events.parse(json.dumps(dict(text=text, id=one)).encode(), NOW).key
    for text, one in (('a', 7), ('b', 7), ('a', '7'))
  ]
  assert keys[0] == keys[1] != keys[2]
  assert events.parse(b'{"text": "a"}', NOW).key == ''


def test_half_a_surrogate_is_no_obstacle():
  found = events.parse(b'{"text": "a \\ud800", "source": "\\ud800"}', NOW)
  assert found.text.encode() and found.source.encode()
