"""When a key ends, as a user writes it: 30d, 12h, 2027-01-31, never."""

import datetime
import re

from gpt_jax.core.errors import ConfigError

UNITS = {'m': 'minutes', 'h': 'hours', 'd': 'days', 'w': 'weeks'}


def parse(text, now):
  """Returns the UTC datetime that `text` means at `now`; None for never.

  A date ends at its first moment in UTC. Raises ConfigError for other forms and for
  moments that are over.
  """
  if text in (None, 'never'):
    return None
  try:
    if found := re.fullmatch(r'([0-9]{1,6})([mhdw])', text):
      moment = now + datetime.timedelta(**{UNITS[found[2]]: int(found[1])})
    else:
      moment = datetime.datetime.fromisoformat(text)
      if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
      moment = moment.astimezone(datetime.UTC)
  except (ValueError, OverflowError) as error:
    raise ConfigError(
      f'expires={text}: expected a time from now, such as 90m, 12h, 30d or 8w, a date'
      ' such as 2030-01-31, or never.'
    ) from error
  if moment <= now:
    raise ConfigError(
      f'expires={text}: this is over (now: {now:%Y-%m-%d %H:%M} UTC); expected a later'
      ' moment, or never.'
    )
  return moment
