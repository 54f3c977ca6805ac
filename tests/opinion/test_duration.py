"""Durations in words."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.opinion import duration


@pytest.mark.parametrize(
  'text, seconds',
  [('90s', 90), ('15m', 900), ('1h', 3600), ('1.5 H', 5400), ('1d', 86400)],
)
def test_a_number_and_a_unit_are_seconds(text, seconds):
  assert duration.parse(text, '--bucket') == seconds


@pytest.mark.parametrize('text', ['', '1', 'h', '-1h', '1w', '0s', 'nan s'])
def test_other_words_are_refused_with_the_flag(text):
  with pytest.raises(ConfigError, match='--bucket=.*90s, 15m'):
    duration.parse(text, '--bucket')


def test_seconds_are_shown_in_the_largest_whole_unit():
  shown = [duration.show(seconds) for seconds in (90, 900, 5400, 86400, 0)]
  assert shown == ['90 s', '15 m', '90 m', '1 d', '0 s']
