"""What users write for the end of a key."""

import datetime

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.keys import expiry

NOW = datetime.datetime(2026, 12, 31, 23, 30, tzinfo=datetime.UTC)


@pytest.mark.parametrize('text, moment', [
  (None, None), ('never', None), ('30d', '2027-01-30T23:30+00:00'),
  ('45m', '2027-01-01T00:15+00:00'), ('12h', '2027-01-01T11:30+00:00'),
  ('2w', '2027-01-14T23:30+00:00'), ('2027-01-31', '2027-01-31T00:00+00:00'),
  ('2027-01-31T10:00', '2027-01-31T10:00+00:00'),
  ('2027-01-31T10:00+02:00', '2027-01-31T08:00+00:00'),
])  # fmt: skip
def test_spans_and_dates_are_moments_in_utc(text, moment):
  expected = moment and datetime.datetime.fromisoformat(moment)
  assert expiry.parse(text, NOW) == expected


@pytest.mark.parametrize(
  'text', ['', '30', '30x', '-3d', '1.5d', 'tomorrow', '2027-13-01', '999999w', '٣d']
)
def test_other_texts_are_refused_with_examples(text):
  with pytest.raises(ConfigError, match='30d or 8w, a date') as error:
    expiry.parse(text, NOW)
  assert f'expires={text}' in str(error.value)


@pytest.mark.parametrize('text', ['0d', '2026-12-31', '2026-12-31T23:30'])
def test_what_is_over_is_refused(text):
  with pytest.raises(ConfigError, match='is over'):
    expiry.parse(text, NOW)
