"""Values of a record are taken by key, and their kind is checked."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import record


def test_a_value_is_returned_when_it_is_of_the_kind():
  assert record.value({'a': 3}, 'a', 'here', int) == 3
  assert record.value({'a': None}, 'a', 'here') is None


@pytest.mark.parametrize(
  'values, kind, message',
  [
    (
      {'sentense': 'x'},
      str,
      "a.json, line 2: no 'sentence'; there are 'sentense'; did",
    ),
    ({}, str, "no 'sentence'; there are none"),
    ({'sentence': 3}, str, "a.json, line 2: 'sentence' is 3; expected text"),
    ({'sentence': True}, int, "'sentence' is True; expected a whole number"),
  ],
)
def test_what_is_missing_or_of_another_kind_is_named(values, kind, message):
  with pytest.raises(DataError, match=message):
    record.value(values, 'sentence', 'a.json, line 2', kind)


def test_long_values_are_shown_by_their_start():
  assert record.shown('x' * 100, 10) == "'xxxxxxxxx..."
