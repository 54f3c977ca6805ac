"""Matches are those of Python's re, for any pieces, in a time of the text's length."""

import random
import re
import warnings

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.safety import regex_detector
from gpt_jax.safety.regex_detector import LinearRegex, RegexDetector
from gpt_jax.safety.span_filter import SpanFilter


def detector(regex, longest=100):
  return RegexDetector(regex, longest, 'rule', 'redact', '#')


def filtered(pieces, *detectors):
  one = SpanFilter(detectors)
  return ''.join(map(one.feed, pieces)) + one.finish(), one.counts


def uncovered(pattern, text, flags):
  """Returns the characters of `text` in no match of `pattern`, by Python's re."""
  left = set(range(len(text)))
  for start in range(len(text)):
    for end in range(start + 1, len(text) + 1):
      around = rf'(?s:.{{{start}}})(?:{pattern})(?=(?s:.{{{len(text) - end}}})\Z)'
      found = re.compile(around, flags).match(text)
      if found and found.end() == end:
        left -= set(range(start, end))
  return ''.join(text[i] for i in sorted(left))


def random_pattern(rng, depth=0):
  kind = rng.random()
  if depth > 3 or kind < 0.35:
    return rng.choice(['a', 'b', 'B', '[ab]', '[^a]', r'\w', '.', r'\d', r'\b', r'\B'])
  first, second = (random_pattern(rng, depth + 1) for _ in range(2))
  if kind < 0.5:
    return first + second
  if kind < 0.6:
    return f'(?:{first}|{second})'
  return f'(?:{first}){rng.choice(["*", "+", "?", "{1,2}", "{2}", "*?"])}'


@pytest.mark.parametrize('seed', range(3))
def test_what_is_covered_is_what_re_matches(seed):
  warnings.simplefilter('ignore', FutureWarning)
  rng = random.Random(seed)
  for _ in range(60):
    pattern, flags = random_pattern(rng), rng.choice((0, re.IGNORECASE))
    try:
      regex = LinearRegex(pattern, bool(flags))
    except ConfigError:  # matches the empty text
      continue
    text = ''.join(rng.choice('abcB1 -') for _ in range(rng.randint(0, 8)))
    shown, _ = filtered(text, detector(regex))
    assert shown.replace('#', '') == uncovered(pattern, text, flags), (pattern, text)
    short = filtered([text], detector(regex, 3))
    assert short == filtered(text, detector(regex, 3))


@pytest.mark.parametrize(
  'pattern, text, shown',
  [
    ('sk-[a-z0-9]{4,}', 'key sk-ab12cd.', 'key #.'),
    ('sk-[a-z0-9]{4,}', 'key ｓｋ－ab１２cd.', 'key #.'),
    ('secret', 'se\u200bcret', '#'),
    (r'^\w+:', 'a: b:', '# b:'),
    (r'(?m)^\w+:', 'a: b:\nc: d', '# b:\n# d'),
    ('end$', 'end end', 'end #'),
    ('订单[0-9]+', '我的订单123号', '我的#号'),
  ],
)
def test_patterns_of_policies(pattern, text, shown):
  assert filtered(text, detector(LinearRegex(pattern)))[0] == shown
  assert filtered([text], detector(LinearRegex(pattern)))[0] == shown


def test_of_a_long_match_the_last_part_is_hidden():
  regex = LinearRegex('a.*b')
  assert filtered('xa12345b', detector(regex, 4))[0] == 'xa12#'


def test_only_what_may_still_match_is_held_back():
  one = SpanFilter([detector(LinearRegex('sk-[0-9]+'))])
  shown = [one.feed(char) for char in 'as sk-x']
  assert shown == ['a', '', 's ', '', '', '', 'sk-x']


@pytest.mark.parametrize('pattern', ['(a+)+b', '(?:a|a)*b', r'(?:\w+ ?)+!', 'a.*b.*c'])
def test_nested_repeats_take_linear_time(pattern):
  # Python's re needs longer than the universe is old for the first ones.
  shown, counts = filtered(['a' * 100_000], detector(LinearRegex(pattern)))
  assert shown == 'a' * 100_000 and not counts


def test_few_states_are_kept(monkeypatch):
  monkeypatch.setattr(regex_detector, 'MAX_STATES', 50)
  regex = LinearRegex('[ab]{0,3}a[ab]{12}c')
  rng = random.Random(0)
  filtered([''.join(rng.choice('ab') for _ in range(1000))], detector(regex))
  assert len(regex._states) <= 50
